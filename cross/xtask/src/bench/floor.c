// The floor: what a container costs when nothing but the system calls is done, from its first directory until its groups
// are gone. Clones a process into every namespace and four v1 cgroups (or none, where there is no v1), mounts an overlay
// over a layer of its own, pivots, installs a filter, executes `true`. With a BRIDGE also what else every container of
// Roost has: a cable with an address, /dev, /sys, hidden and read-only parts of /proc, files in /etc, an init.
// Usage: floor LOWER WORKDIR RUNS [BRIDGE]; prints `WALL_US CPU_US` for each run.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OWNER 100000

static const char *groups[] = {"memory", "pids", "cpu", "devices"};
static const char *lower, *bridge;
static char work[200];
static int dev;

static void check(int bad, const char *step) {
    if (bad) { perror(step); _exit(125); }
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) return;
    check(write(fd, text, strlen(text)) < 0, path);
    close(fd);
}

// A netlink request that is being put together.
static struct { struct nlmsghdr head; char body[500]; } request;

static void *append(const void *data, size_t length) {
    void *at = (char *)&request + NLMSG_ALIGN(request.head.nlmsg_len);
    if (data) memcpy(at, data, length);
    request.head.nlmsg_len = NLMSG_ALIGN(request.head.nlmsg_len) + length;
    return at;
}

static void begin(int type, int flags, const void *data, size_t length) {
    memset(&request, 0, sizeof request);
    request.head = (struct nlmsghdr){NLMSG_LENGTH(0), type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0};
    append(data, length);
}

static struct rtattr *attribute(int type, const void *data, size_t length) {
    struct rtattr head = {RTA_LENGTH(length), type};
    struct rtattr *at = append(&head, sizeof head);
    if (data) append(data, length);
    return at;
}

static void end(struct rtattr *nest) {
    nest->rta_len = (char *)&request + request.head.nlmsg_len - (char *)nest;
}

static void call(int netlink, const char *step) {
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[600]; } answer;
    check(send(netlink, &request, request.head.nlmsg_len, 0) < 0, step);
    check(recv(netlink, &answer, sizeof answer, 0) < 0, step);
    errno = -answer.error.error;
    check(answer.error.error, step);
}

static void plug_in(int netlink, pid_t pid, int run) {
    struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, none = {0};
    int master = if_nametoindex(bridge);
    char name[IFNAMSIZ];
    // Of its own: the kernel takes the last one down by itself, with its network namespace.
    snprintf(name, sizeof name, "rv%d", run);
    begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
    attribute(IFLA_IFNAME, name, strlen(name) + 1);
    attribute(IFLA_MASTER, &master, sizeof master);
    struct rtattr *info = attribute(IFLA_LINKINFO, NULL, 0);
    attribute(IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = attribute(IFLA_INFO_DATA, NULL, 0), *peer = attribute(VETH_INFO_PEER, NULL, 0);
    append(&none, sizeof none);
    attribute(IFLA_IFNAME, "eth0", 5);
    attribute(IFLA_NET_NS_PID, &pid, sizeof pid);
    end(peer), end(data), end(info);
    call(netlink, "veth");
}

static void set_up(int netlink, int index) {
    struct ifinfomsg up = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(RTM_NEWLINK, 0, &up, sizeof up);
    call(netlink, "up");
}

static void configure_cable(void) {
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), index = if_nametoindex("eth0");
    uint32_t own = htonl(0x0a630002), gateway = htonl(0x0a630001);
    struct ifaddrmsg address = {AF_INET, 24, 0, RT_SCOPE_UNIVERSE, index};
    struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST};
    set_up(netlink, 1);
    begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &address, sizeof address);
    attribute(IFA_LOCAL, &own, 4);
    attribute(IFA_ADDRESS, &own, 4);
    call(netlink, "address");
    write_file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
    set_up(netlink, index);
    begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
    attribute(RTA_GATEWAY, &gateway, 4);
    call(netlink, "route");
    close(netlink);
}

static int detached(const char *kind, const char *key, const char *value, int attributes) {
    int context = fsopen(kind, FSOPEN_CLOEXEC);
    check(context < 0, kind);
    if (key) check(fsconfig(context, FSCONFIG_SET_STRING, key, value, 0), key);
    check(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), kind);
    int mounted = fsmount(context, FSMOUNT_CLOEXEC, attributes);
    check(mounted < 0, kind);
    close(context);
    return mounted;
}

static void attach(int mounted, int below, const char *path) {
    if (move_mount(mounted, "", below, path, MOVE_MOUNT_F_EMPTY_PATH) && errno != ENOENT) check(1, path);
    close(mounted);
}

static void make_dev(void) {
    const char *names[] = {"null", "zero", "full", "random", "urandom", "tty"};
    int minors[] = {3, 5, 7, 8, 9, 0};
    const char *places[] = {"pts", "mqueue", "shm"}, *links[] = {"ptmx", "fd", "stdin", "stdout", "stderr"};
    dev = detached("tmpfs", "mode", "755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    for (int i = 0; i < 6; i++) {
        check(mknodat(dev, names[i], S_IFCHR | 0666, makedev(i == 5 ? 5 : 1, minors[i])), names[i]);
        check(fchmodat(dev, names[i], 0666, 0) || fchownat(dev, names[i], OWNER, OWNER, 0), names[i]);
    }
    for (int i = 0; i < 3; i++) check(mkdirat(dev, places[i], 0755) || fchownat(dev, places[i], OWNER, OWNER, 0), places[i]);
    for (int i = 0; i < 5; i++) check(symlinkat("x", dev, links[i]), links[i]);
}

static void furnish(void) {
    const char *files[] = {"interrupts", "keys", "timer_list"}, *read_only[] = {"bus", "fs", "irq", "sys", "tty"};
    const char *etc[] = {"etc/hostname", "etc/hosts", "etc/resolv.conf"};
    int inert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    attach(detached("sysfs", NULL, NULL, inert | MOUNT_ATTR_RDONLY), AT_FDCWD, "sys");
    int null = open_tree(dev, "null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    attach(detached("devpts", "ptmxmode", "0666", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), dev, "pts");
    attach(detached("mqueue", NULL, NULL, inert), dev, "mqueue");
    attach(detached("tmpfs", "mode", "1777", inert), dev, "shm");
    attach(dev, AT_FDCWD, "dev");
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "proc/%s", files[i]);
        attach(i == 2 ? null : open_tree(AT_FDCWD, "dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), AT_FDCWD, path);
    }
    attach(detached("tmpfs", "mode", "555", inert | MOUNT_ATTR_RDONLY), AT_FDCWD, "proc/acpi");
    attach(detached("tmpfs", "mode", "555", inert | MOUNT_ATTR_RDONLY), AT_FDCWD, "sys/firmware");
    for (int i = 0; i < 5; i++) {
        char path[64];
        struct mount_attr change = {.attr_set = MOUNT_ATTR_RDONLY};
        snprintf(path, sizeof path, "proc/%s", read_only[i]);
        int part = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        check(mount_setattr(part, "", AT_EMPTY_PATH, &change, sizeof change), path);
        attach(part, AT_FDCWD, path);
    }
    for (int i = 0; i < 3; i++) {
        int fd = open(etc[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        check(fd < 0 || write(fd, "floor\n", 6) != 6, etc[i]);
        close(fd);
    }
}

static int child(void *go) {
    char byte, path[300], options[900];
    close(((int *)go)[1]);
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
    if (bridge) configure_cable(), furnish();
    check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    check(umount2(".", MNT_DETACH), "old root");
    check(sethostname("floor", 5), "hostname");
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, allow};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
    pid_t command = bridge ? fork() : 0;
    if (command) {
        int status;
        check(command < 0 || waitpid(command, &status, 0) != command, "init");
        _exit(WEXITSTATUS(status));
    }
    char *arguments[] = {"true", NULL};
    execv("/bin/true", arguments);
    check(1, "exec");
    return 1;
}

static void make_layer(const char *scratch, int run) {
    const char *parts[] = {"", "/upper", "/work", "/root"};
    char path[300];
    snprintf(work, sizeof work, "%s/%d", scratch, run);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", work, parts[i]);
        check(mkdir(path, 0755) || chown(path, OWNER, OWNER), path);
    }
}

static double us(struct timeval t) { return t.tv_sec * 1e6 + t.tv_usec; }

static double cpu(void) {
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return us(own.ru_utime) + us(own.ru_stime) + us(children.ru_utime) + us(children.ru_stime);
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) return 2;
    lower = argv[1], bridge = argv[4];
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    char path[256], *stack = malloc(1 << 16);
    for (int run = 0; run < atoi(argv[3]); run++) {
        struct timespec from, to;
        double before = cpu();
        clock_gettime(CLOCK_MONOTONIC, &from);
        make_layer(argv[2], run);
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s/roost-floor", groups[i]);
            mkdir(path, 0755);
        }
        int go[2];
        check(pipe2(go, O_CLOEXEC), "pipe");
        if (bridge) make_dev();
        int flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | SIGCHLD;
        pid_t pid = clone(child, stack + (1 << 16), flags, &go[0]);
        check(pid < 0, "clone");
        if (bridge) close(dev);
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        write_file(path, "0 100000 65536");
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        write_file(path, "0 100000 65536");
        if (bridge) plug_in(netlink, pid, run);
        check(write(go[1], "g", 1) != 1, "go");
        int status;
        check(waitpid(pid, &status, 0) != pid || status != 0, "container");
        close(go[0]), close(go[1]);
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s/roost-floor", groups[i]);
            rmdir(path);
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        double after = cpu();
        printf("%.0f %.0f\n", (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3, after - before);
    }
    return 0;
}
