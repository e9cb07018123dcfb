// One packet at a time over UDP, for instances: busybox has no program for it.
//
//   udp echo PORT                    says every packet back
//   udp hear PORT                    prints every packet as a line
//   udp ask FROM ADDRESS PORT TEXT   sends TEXT from port FROM (0: any) and prints the answer; fails after 2 s without one
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int bound(const char *port)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) != 0) {
        perror(port);
        exit(2);
    }
    return fd;
}

static int serve(int fd, int answers)
{
    char packet[1500];
    struct sockaddr_in from;
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
        if (length < 0)
            return 1;
        if (answers) {
            sendto(fd, packet, (size_t)length, 0, (struct sockaddr *)&from, size);
        } else {
            printf("%.*s\n", (int)length, packet);
            fflush(stdout);
        }
    }
}

static int ask(int fd, const char *address, const char *port, const char *text)
{
    char answer[1500];
    struct timeval patience = {.tv_sec = 2};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return 2;
    if (send(fd, text, strlen(text), 0) < 0)
        return 1;
    ssize_t length = recv(fd, answer, sizeof answer, 0);
    if (length < 0)
        return 1;
    printf("%.*s\n", (int)length, answer);
    return 0;
}

int main(int count, char **words)
{
    if (count == 3 && (strcmp(words[1], "echo") == 0 || strcmp(words[1], "hear") == 0))
        return serve(bound(words[2]), words[1][0] == 'e');
    if (count == 6 && strcmp(words[1], "ask") == 0)
        return ask(bound(words[2]), words[3], words[4], words[5]);
    fprintf(stderr, "usage: udp echo PORT | udp hear PORT | udp ask FROM ADDRESS PORT TEXT\n");
    return 2;
}
