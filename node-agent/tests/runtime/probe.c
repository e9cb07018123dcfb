/* Reports what a container may do, from inside: one fact a line, the same on every machine with the same rules.
 *
 *   capabilities and modes of this process    open files    devices    mounts
 *   what of /proc and /sys can be opened for writing        sockets, namespaces, system calls that are refused
 *
 * A system call is tried with arguments that are all zero, in a process of its own that an alarm ends: it is refused
 * when the answer is EPERM or, for numbers that the kernel has, ENOSYS.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST_CALL = 462, REFUSED = 77 };

static void status(void) {
    static const char *const wanted[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:", "Uid", "Gid"};
    char line[512];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i]))) printf("status %s", line);
    if (file) fclose(file);
}

/* Before anything else is opened. */
static void open_files(void) {
    char path[64], target[PATH_MAX];
    for (int fd = 0; fd < 1024; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        char *number = strchr(target, '[');
        if (number) *number = 0;
        printf("open file %d %s\n", fd, target);
    }
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Calls `each` for everything below a directory, in order of names; symbolic links are not followed. */
static void walk(const char *directory, void (*each)(const char *, const struct stat *)) {
    DIR *dir = opendir(directory);
    char *names[4096], path[PATH_MAX];
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir)) && count < 4096;)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) names[count++] = strdup(entry->d_name);
    if (dir) closedir(dir);
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        struct stat stat;
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        /* Processes come and go, and what a process may do to itself is its own affair. */
        int process = !strcmp(directory, "/proc") && (names[i][0] <= '9' || !strcmp(names[i], "self") || !strcmp(names[i], "thread-self"));
        free(names[i]);
        if (process || lstat(path, &stat)) continue;
        each(path, &stat);
        if (S_ISDIR(stat.st_mode)) walk(path, each);
    }
}

static void device(const char *path, const struct stat *stat) {
    const char *kind = S_ISCHR(stat->st_mode) ? "character" : S_ISBLK(stat->st_mode) ? "block" : NULL;
    if (kind) printf("device %s %s %u:%u %o\n", path, kind, major(stat->st_rdev), minor(stat->st_rdev), stat->st_mode & 07777);
}

static void writable(const char *path, const struct stat *stat) {
    if (!S_ISREG(stat->st_mode)) return;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    close(fd);
    printf("writable %s\n", path);
}

static void mounts(void) {
    char line[4096], point[PATH_MAX], options[256];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *kind = strstr(line, " - ");
        if (!kind || sscanf(line, "%*s %*s %*s %*s %s %255s", point, options) != 2) continue;
        kind += 3;
        kind[strcspn(kind, " ")] = 0;
        printf("mount %s %s %s\n", point, kind, options);
    }
    if (file) fclose(file);
}

static int is_refused(long number) {
    pid_t child = fork();
    if (child == 0) {
        alarm(1);
        /* Zero is no file then, and nothing is refused for the sake of the file. */
        close(0);
        errno = 0;
        long answer = syscall(number, 0, 0, 0, 0, 0, 0);
        _exit(answer == -1 && (errno == EPERM || errno == ENOSYS) ? REFUSED : 0);
    }
    int ended = 0;
    while (waitpid(child, &ended, 0) == -1 && errno == EINTR) {}
    return WIFEXITED(ended) && WEXITSTATUS(ended) == REFUSED;
}

static void calls(void) {
    for (long number = 0; number <= LAST_CALL; number++) {
        /* Numbers that were never given out. */
        if (number > 334 && number < 424) continue;
        if (is_refused(number)) printf("refused %ld\n", number);
    }
}

/* Parts of the kernel that few programs need and many exploits did. */
static void doors(void) {
    static const struct { const char *name; int family, type; } sockets[] = {
        {"alg", AF_ALG, SOCK_SEQPACKET}, {"vsock", AF_VSOCK, SOCK_STREAM},
        {"packet", AF_PACKET, SOCK_RAW}, {"raw", AF_INET, SOCK_RAW},
    };
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        int fd = socket(sockets[i].family, sockets[i].type, sockets[i].family == AF_INET ? IPPROTO_ICMP : 0);
        if (fd < 0) printf("refused socket %s\n", sockets[i].name);
        else close(fd);
    }
    fflush(stdout);
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child < 0) printf("refused clone into a user namespace\n");
    else waitpid(child, NULL, 0);
    child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0);
    int ended = 0;
    if (waitpid(child, &ended, 0) > 0 && WEXITSTATUS(ended) == 0) printf("refused user namespace\n");
}

int main(void) {
    open_files();
    status();
    walk("/dev", device);
    mounts();
    walk("/proc", writable);
    walk("/sys", writable);
    doors();
    fflush(stdout);
    calls();
    return 0;
}
