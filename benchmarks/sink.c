/* A server that takes uploads and answers each with the gateway's image list, so that the client
 * is what is measured: one thread, epoll, bodies thrown away unread where the kernel can do that.
 *
 * sink DELAY_MS SLOW [CERTIFICATE KEY]
 *
 * Each answer waits DELAY_MS after its request. With SLOW, each connection is read 16 KiB at a
 * time, fifty times a second. Prints its port and ends with its standard input. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

enum { HEAD = 16384, STEP = 1 << 20, SLOW_STEP = 16384, SLOW_MS = 20, MOST = 65536 };

typedef struct {
    SSL *tls;
    long left;      /* of the body; -1 while the head is read, -2 for chunks */
    int have;       /* bytes in head */
    double due;     /* when to answer, or 0 */
    char head[HEAD];
} Connection;

static Connection *connections[MOST];
static int queue[MOST], queue_first, queue_last; /* answers in the order in which they are due */
static char buffer[STEP + 1], answer[1024];
static int answer_size, delay_ms, slow, poller;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void drop(int fd) {
#ifdef WITH_TLS
    if (connections[fd]->tls) SSL_free(connections[fd]->tls);
#endif
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

/* Returns what was read, 0 for nothing at the moment, -1 for the end. */
static long take(int fd, Connection *c, char *into, long most, int discard) {
#ifdef WITH_TLS
    if (c->tls) {
        ERR_clear_error(); /* what another connection left there would be taken for this one's */
        int got = SSL_read(c->tls, into, most);
        if (got > 0) return got;
        int why = SSL_get_error(c->tls, got);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
#endif
    /* TCP throws away what is received with MSG_TRUNC without copying it (tcp(7)). */
    long got = recv(fd, into, most, discard ? MSG_TRUNC : 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void give(int fd, Connection *c) {
#ifdef WITH_TLS
    if (c->tls) {
        SSL_write(c->tls, answer, answer_size);
        return;
    }
#endif
    if (write(fd, answer, answer_size) < 0) return;
}

static void done(int fd, Connection *c) {
    c->left = -1;
    c->have = 0;
    if (!delay_ms) {
        give(fd, c);
        return;
    }
    c->due = now() + delay_ms;
    queue[queue_last++ % MOST] = fd;
}

/* Returns 0 once the connection has ended. */
static int serve(int fd) {
    Connection *c = connections[fd];
    /* What OpenSSL has decrypted already wakes no poll: read until it has nothing more. */
    long budget = slow ? SLOW_STEP : c->tls ? 1L << 40 : STEP;
    while (budget > 0) {
        if (c->left == -1) {
            long got = take(fd, c, c->head + c->have, HEAD - 1 - c->have, 0);
            if (got <= 0) return got == 0;
            budget -= got;
            c->have += got;
            c->head[c->have] = 0;
            char *end = memmem(c->head, c->have, "\r\n\r\n", 4);
            if (!end) {
                if (c->have >= HEAD - 1) return 0;
                continue;
            }
            *end = 0;
            char *length = strcasestr(c->head, "\r\ncontent-length:");
            long rest = c->head + c->have - (end + 4);
            if (length) {
                c->left = atol(length + 17) - rest;
                if (c->left <= 0) done(fd, c);
            } else {
                c->left = -2;
                c->have = rest > 7 ? 7 : (int)rest;
                memmove(c->head, end + 4 + rest - c->have, c->have);
            }
        } else if (c->left == -2) {
            /* The last chunk ends the body, and nothing follows it here. */
            long got = take(fd, c, buffer, budget < STEP ? budget : STEP, 0);
            if (got <= 0) return got == 0;
            budget -= got;
            for (long i = got > 7 ? got - 7 : 0; i < got; i++) {
                if (c->have == 7) memmove(c->head, c->head + 1, --c->have);
                c->head[c->have++] = buffer[i];
            }
            if (c->have == 7 && !memcmp(c->head, "\r\n0\r\n\r\n", 7)) done(fd, c);
        } else {
            long most = budget < STEP ? budget : STEP;
            long got = take(fd, c, buffer, c->left < most ? c->left : most, 1);
            if (got <= 0) return got == 0;
            budget -= got;
            c->left -= got;
            if (!c->left) done(fd, c);
        }
    }
    return 1;
}

int main(int count, char **words) {
    delay_ms = count > 1 ? atoi(words[1]) : 0;
    slow = count > 2 && atoi(words[2]);
#ifdef WITH_TLS
    SSL_CTX *context = NULL;
    if (count > 4) {
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, words[3]) != 1) return 2;
        if (SSL_CTX_use_PrivateKey_file(context, words[4], SSL_FILETYPE_PEM) != 1) return 2;
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    }
#endif
    const char *body =
        "{\"created\":\"2026-01-05T10:11:12Z\",\"data\":[{\"url\":\"http://127.0.0.1/results/"
        "0123456789abcdef.png\",\"prompt\":\"a pine forest at dawn\",\"resolution\":\"1024x1024\","
        "\"is_image_safe\":true,\"seed\":12345,\"style_type\":\"REALISTIC\"}]}";
    answer_size = snprintf(answer, sizeof answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, small = 16384;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (slow) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    double tick = now();
    for (;;) {
        int wait = slow ? 5 : -1;
        if (queue_first != queue_last) wait = 1;
        int ready = epoll_wait(poller, events, 256, wait);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= MOST) return 3;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    connections[fd] = calloc(1, sizeof(Connection));
                    connections[fd]->left = -1;
#ifdef WITH_TLS
                    if (context) {
                        connections[fd]->tls = SSL_new(context);
                        SSL_set_fd(connections[fd]->tls, fd);
                        SSL_set_accept_state(connections[fd]->tls);
                    }
#endif
                    event.data.fd = fd;
                    if (!slow) epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                }
            } else if (!serve(fd)) {
                drop(fd);
            }
        }
        double t = now();
        if (slow && t - tick >= SLOW_MS) {
            tick = t;
            for (int fd = 0; fd < MOST; fd++)
                if (connections[fd] && !serve(fd)) drop(fd);
        }
        while (queue_first != queue_last) {
            int fd = queue[queue_first % MOST];
            if (connections[fd] && connections[fd]->due > t) break;
            queue_first++;
            if (connections[fd]) give(fd, connections[fd]);
        }
    }
}
