// The floor: what a container costs when nothing but the system calls is done. Clones a process into every namespace and
// four v1 cgroups (or none, where there is no v1), mounts an overlay, pivots, installs a filter, executes `true`.
// Usage: floor LOWER WORKDIR RUNS; prints `WALL_US CPU_US` for each run.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *groups[] = {"memory", "pids", "cpu", "devices"};
static const char *lower, *work;

static void check(int bad, const char *step) {
    if (bad) { perror(step); _exit(125); }
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) return;
    check(write(fd, text, strlen(text)) < 0, path);
    close(fd);
}

static int child(void *go) {
    char byte, path[256], options[600];
    check(read(*(int *)go, &byte, 1) != 1, "wait");
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/roost-floor/tasks", groups[i]);
        write_file(path, "0");
    }
    check(setresgid(0, 0, 0) || setresuid(0, 0, 0), "root's ids");
    check(unshare(CLONE_NEWCGROUP), "cgroup namespace");
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr", lower, work, work);
    snprintf(path, sizeof path, "%s/root", work);
    check(mount("overlay", path, "overlay", 0, options), "overlay");
    check(chdir(path), "chdir");
    mkdir("proc", 0755);
    check(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
    check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    check(umount2(".", MNT_DETACH), "old root");
    check(sethostname("floor", 5), "hostname");
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, allow};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
    char *arguments[] = {"true", NULL};
    execv("/bin/true", arguments);
    check(1, "exec");
    return 1;
}

static double us(struct timeval t) { return t.tv_sec * 1e6 + t.tv_usec; }

static double cpu(void) {
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return us(own.ru_utime) + us(own.ru_stime) + us(children.ru_utime) + us(children.ru_stime);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    lower = argv[1], work = argv[2];
    char path[256];
    const char *parts[] = {"upper", "work", "root"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", work, parts[i]);
        mkdir(path, 0755);
        if (chown(path, 100000, 100000)) return 1;
    }
    char *stack = malloc(1 << 16);
    for (int run = 0; run < atoi(argv[3]); run++) {
        struct timespec from, to;
        double before = cpu();
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s/roost-floor", groups[i]);
            mkdir(path, 0755);
        }
        int go[2];
        check(pipe2(go, O_CLOEXEC), "pipe");
        int flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | SIGCHLD;
        pid_t pid = clone(child, stack + (1 << 16), flags, &go[0]);
        check(pid < 0, "clone");
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        write_file(path, "0 100000 65536");
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        write_file(path, "0 100000 65536");
        check(write(go[1], "g", 1) != 1, "go");
        int status;
        check(waitpid(pid, &status, 0) != pid || status != 0, "container");
        clock_gettime(CLOCK_MONOTONIC, &to);
        double after = cpu();
        close(go[0]), close(go[1]);
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s/roost-floor", groups[i]);
            rmdir(path);
        }
        printf("%.0f %.0f\n", (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3, after - before);
    }
    return 0;
}
