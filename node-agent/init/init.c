/* The first process of an `app` container: reaps whatever is orphaned, passes signals on to the command, and ends with
 * the command's status.
 *
 * Usage: roost-init PID, where PID is the command, already a child of this process. Every signal must be blocked.
 *
 * Freestanding: no C library, no data segment, no heap. A container pays for it with its stack and its page tables, and
 * the text is shared by all. It is started from a sealed file in memory that the container can neither read nor write.
 */

#if defined(__x86_64__)
enum { WAIT4 = 61, KILL = 62, RT_SIGTIMEDWAIT = 128, PRCTL = 157, EXIT_GROUP = 231 };
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall serve\n");

static long call(long number, long a, long b, long c, long d) {
    register long fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
enum { WAIT4 = 260, KILL = 129, RT_SIGTIMEDWAIT = 137, PRCTL = 167, EXIT_GROUP = 94 };
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tb serve\n");

static long call(long number, long a, long b, long c, long d) {
    register long which __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(which), "r"(second), "r"(third), "r"(fourth) : "memory");
    return first;
}
#elif defined(__arm__)
enum { WAIT4 = 114, KILL = 37, RT_SIGTIMEDWAIT = 177, PRCTL = 172, EXIT_GROUP = 248 };
__asm__(".globl _start\n.arm\n_start:\n\tmov r0, sp\n\tbic sp, sp, #7\n\tbl serve\n");

/* r7 names the call; it would be the frame pointer of Thumb code, which this file is not compiled to. */
static long call(long number, long a, long b, long c, long d) {
    register long which __asm__("r7") = number;
    register long first __asm__("r0") = a;
    register long second __asm__("r1") = b;
    register long third __asm__("r2") = c;
    register long fourth __asm__("r3") = d;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(which), "r"(second), "r"(third), "r"(fourth) : "memory");
    return first;
}
#else
#error "roost-init knows x86_64, aarch64 and arm"
#endif

enum { SET_NAME = 15, CHILD_ENDED = 17, NO_WAIT = 1, EVERY_CHILD = 0x40000000 };

/* The bytes of a kernel signal set. */
enum { SIGNAL_SET = 8 };

static long number_in(const char *text) {
    long number = 0;
    while (*text >= '0' && *text <= '9') number = number * 10 + (*text++ - '0');
    return number;
}

/* Shells' way to say it: the status, or 128 and the signal. */
static int exit_code(int status) {
    int signal = status & 0x7f;
    return signal ? 128 + signal : (status >> 8) & 0xff;
}

/* Reaps every process that has ended, and ends itself when the command is among them. */
static void reap(long command) {
    int status;
    long pid;
    while ((pid = call(WAIT4, -1, (long)&status, NO_WAIT | EVERY_CHILD, 0)) > 0) {
        if (pid == command) call(EXIT_GROUP, exit_code(status), 0, 0, 0);
    }
}

/* `stack` is what the kernel left: the number of arguments, then the arguments. */
__attribute__((noreturn, used)) void serve(const long *stack) {
    const char *const *arguments = (const char *const *)(stack + 1);
    long command = stack[0] > 1 ? number_in(arguments[1]) : 0;
    unsigned long long every = ~0ull;
    call(PRCTL, SET_NAME, (long)"roost-init", 0, 0);
    for (;;) {
        long signal = call(RT_SIGTIMEDWAIT, (long)&every, 0, 0, SIGNAL_SET);
        if (signal == CHILD_ENDED) {
            reap(command);
        } else if (signal > 0) {
            call(KILL, command, signal, 0, 0);
        }
    }
}
