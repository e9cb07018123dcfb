/* What lies between `create` and `start` of the OCI runtime specification, which Roost does not tell apart.
 *
 * gate wait COMMAND [ARGUMENT...]  waits until the gate is opened, then becomes the command
 * gate open                        opens it
 *
 * The gate is a FIFO beside this program.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char FIFO[] = "/.roost-oci/gate.fifo";

/* The one who waits may not have come to the gate yet. */
enum { TRIES = 500 };

static int open_gate(void) {
    for (int i = 0; i < TRIES; i++) {
        if (open(FIFO, O_WRONLY | O_NONBLOCK) >= 0) return 0;
        if (errno != ENXIO) break;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    fprintf(stderr, "open the gate: %s\n", strerror(errno));
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "open") == 0) return open_gate();
    if (argc < 3 || strcmp(argv[1], "wait") != 0) return 2;
    int gate = open(FIFO, O_RDONLY);
    if (gate < 0) {
        perror("wait at the gate");
        return 125;
    }
    close(gate);
    execvp(argv[2], argv + 2);
    int error = errno;
    fprintf(stderr, "%s: %s\n", argv[2], strerror(error));
    return error == ENOENT ? 127 : 126;
}
