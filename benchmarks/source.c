/* A server that answers every GET with one file, so that the client is what is measured: one
 * thread, epoll, and the whole answer is in memory.
 *
 * source FILE
 *
 * Requests have no body. Prints its port and ends with its standard input. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 16384, MOST = 65536 };

typedef struct {
    int have;        /* of a request's head */
    size_t sent;     /* of the answer; its end while there is none to send */
    char head[HEAD];
} Connection;

static Connection *connections[MOST];
static char *answer;
static size_t size;
static int poller;

static void drop(int fd) {
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void want(int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

/* Returns 0 once the connection has ended. */
static int serve(int fd) {
    Connection *c = connections[fd];
    if (c->sent == size) {
        ssize_t got = recv(fd, c->head + c->have, HEAD - 1 - c->have, 0);
        if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
        c->have += got;
        c->head[c->have] = 0;
        if (!memmem(c->head, c->have, "\r\n\r\n", 4)) return c->have < HEAD - 1;
        c->have = 0;
        c->sent = 0;
    }
    ssize_t given = send(fd, answer + c->sent, size - c->sent, MSG_NOSIGNAL);
    if (given < 0 && errno != EAGAIN && errno != EINTR) return 0;
    if (given > 0) c->sent += given;
    want(fd, c->sent == size ? EPOLLIN : EPOLLOUT);
    return 1;
}

int main(int count, char **words) {
    struct stat told;
    int file = count > 1 ? open(words[1], O_RDONLY) : -1;
    if (file < 0 || fstat(file, &told)) return 2;
    char head[256];
    int before = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %lld\r\n\r\n",
        (long long)told.st_size);
    size = before + told.st_size;
    answer = malloc(size);
    memcpy(answer, head, before);
    void *image = mmap(NULL, told.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (image == MAP_FAILED) return 2;
    memcpy(answer + before, image, told.st_size);
    munmap(image, told.st_size);

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd != listener) {
                if (!serve(fd)) drop(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MOST) return 3;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                connections[fd] = calloc(1, sizeof(Connection));
                connections[fd]->sent = size;
                event.events = EPOLLIN;
                event.data.fd = fd;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
