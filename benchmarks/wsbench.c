/* wsbench: a load generator for WebSocket servers on 127.0.0.1. One thread, one epoll.
 *
 *   cc -O2 -o wsbench wsbench.c
 *   wsbench --mode broadcast --port 8080 --path /ws --clients 500 --window 4 --seconds 3 --payload TEXT
 *
 * Modes:
 *   broadcast  client 0 publishes, every client must get each message. With --window W, deliveries of W messages are in
 *              flight: as many deliveries as there are clients make room for the next message. With --rate R, R messages a
 *              second are sent by the clock, whatever comes back, and latency counts from the time a message was due (no
 *              coordinated omission).
 *   each       every client keeps W messages in flight and counts the answers (echo, calls, acked posts).
 *   idle       every client connects, says hello and waits; prints {"ready": true} when all have, then {"frames": N} at the end.
 *
 * What counts and what is checked:
 *   --hello TEXT   sent once by each client; one answer without "error" must come back. Then it waits until all is quiet.
 *   --count TEXT   only frames that contain TEXT count; others are reported as "other". Without it every frame counts.
 *   --need TEXT    each counted frame must contain TEXT, else it is a fault.
 *   --same         each counted frame must be the payload itself.
 *   --seq TEXT     the number after TEXT (such as "seq":). broadcast: goes up by one at every client, from the same first
 *                  number. each: grows at every client and no two answers of all clients carry the same.
 *   --id TEXT      the number after TEXT is that of the client's message; {n} in the payload is this number.
 *   --pid PID      report the CPU time that this process used while the clock ran.
 * After the clock has stopped, all that is in flight must still arrive, and no more than that.
 *
 * The result is one JSON object on stdout. Exit 0, or 1 with a line on stderr: refused, closed, a fault, too slow.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { INBOX = 1 << 18, IN_FLIGHT_MAX = 1 << 16, SUB_BUCKETS = 64, BUCKETS = 128 + 57 * SUB_BUCKETS, TIMER = UINT32_MAX };
static const double QUIET = 0.5, LINGER = 10, PATIENCE = 60; /* seconds */

struct text { const char *bytes; size_t length, hint; }; /* hint: where it was found in the last frame */
struct client { int fd; unsigned char *rest; size_t rest_length; long sent, frames, hellos, last_seq; double *sent_at; };

static struct {
    char mode;
    int port, clients, window, pid;
    double seconds, warmup, rate;
    const char *path;
    struct text payload, hello, count, need, seq, id;
    bool same;
} opt = {.mode = 'b', .clients = 1, .window = 1, .seconds = 3, .warmup = 0.5, .path = "/"};

static struct client *clients;
static int epoll_fd;
static unsigned char inbox[INBOX];

static bool measuring, sending, saying_hello;
static long messages_sent, messages_done, frames_total, frames_other, first_seq = -1, top_seq = -1;
static double published_at[IN_FLIGHT_MAX]; /* broadcast: when message n was sent or due */
static unsigned char *seen;                /* each: one bit per seq */
static long seen_bits;
static long histogram[BUCKETS], samples;
static double slowest;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("wsbench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) fail("out of memory");
    return memory;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* User and system time of the server in seconds, all its threads; 0 without --pid. */
static double server_cpu(void) {
    char path[64], stat[1024];
    unsigned long user = 0, system = 0;
    if (!opt.pid) return 0;
    snprintf(path, sizeof path, "/proc/%d/stat", opt.pid);
    FILE *file = fopen(path, "r");
    if (!file) fail("the server (pid %d) is gone", opt.pid);
    size_t length = fread(stat, 1, sizeof stat - 1, file);
    fclose(file);
    stat[length] = 0;
    const char *fields = strrchr(stat, ')');
    if (!fields || sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) fail("cannot read %s", path);
    return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

/* ---- latency: a histogram in microseconds, exact to 1.6 % ---- */

static int bucket_of(uint64_t microseconds) {
    if (microseconds < 128) return (int)microseconds;
    int exponent = 63 - __builtin_clzll(microseconds);
    return 128 + (exponent - 7) * SUB_BUCKETS + (int)(microseconds >> (exponent - 6)) - SUB_BUCKETS;
}

static double bucket_milliseconds(int bucket) {
    if (bucket < 128) return bucket * 1e-3;
    int exponent = 7 + (bucket - 128) / SUB_BUCKETS;
    return (SUB_BUCKETS + (bucket - 128) % SUB_BUCKETS + 0.5) * (double)(1ull << (exponent - 6)) * 1e-3;
}

static double percentile(double share) {
    long below = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((below += histogram[i]) > share * samples) return bucket_milliseconds(i);
    return slowest * 1e3;
}

static void note_latency(double seconds) {
    if (!measuring) return;
    histogram[bucket_of(seconds > 0 ? (uint64_t)(seconds * 1e6) : 0)]++;
    samples++;
    if (seconds > slowest) slowest = seconds;
}

/* ---- sending ---- */

static void send_all(int fd, const unsigned char *bytes, size_t length) {
    while (length) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent > 0) { bytes += sent; length -= sent; continue; }
        if (sent < 0 && errno == EINTR) continue;
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (sent < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
        if (poll(&writable, 1, (int)(LINGER * 1000)) == 0) fail("the server has read nothing for %g s", LINGER);
    }
}

/* Send one masked frame; {n} in the text becomes the number. */
static void send_text(int fd, int opcode, const char *text, size_t length, long number) {
    static unsigned char *frame;
    static size_t capacity;
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    char digits[24] = "";
    const char *hole = number < 0 ? NULL : memmem(text, length, "{n}", 3);
    size_t digits_length = hole ? (size_t)snprintf(digits, sizeof digits, "%ld", number) : 0;
    size_t payload = hole ? length - 3 + digits_length : length;
    if (capacity < payload + 14 && !(frame = realloc(frame, capacity = payload + 14))) fail("out of memory");
    size_t head = 2;
    frame[0] = (unsigned char)(0x80 | opcode);
    if (payload < 126) {
        frame[1] = (unsigned char)(0x80 | payload);
    } else {
        int width = payload < 65536 ? 2 : 8;
        frame[1] = width == 2 ? 0x80 | 126 : 0x80 | 127;
        for (int i = 0; i < width; i++) frame[head++] = (unsigned char)((uint64_t)payload >> (8 * (width - 1 - i)));
    }
    memcpy(frame + head, mask, 4);
    unsigned char *body = frame + head + 4;
    if (hole) {
        size_t before = (size_t)(hole - text);
        memcpy(body, text, before);
        memcpy(body + before, digits, digits_length);
        memcpy(body + before + digits_length, hole + 3, length - before - 3);
    } else {
        memcpy(body, text, length);
    }
    for (size_t i = 0; i < payload; i++) body[i] ^= mask[i & 3];
    send_all(fd, frame, head + 4 + payload);
}

static void publish(double due) {
    long slot = messages_sent % IN_FLIGHT_MAX;
    if (messages_sent - messages_done >= IN_FLIGHT_MAX) fail("the server is %d messages behind", IN_FLIGHT_MAX);
    published_at[slot] = due;
    send_text(clients[0].fd, 1, opt.payload.bytes, opt.payload.length, messages_sent++);
}

static void ask(struct client *client) {
    client->sent_at[client->sent % opt.window] = now();
    messages_sent++;
    long number = client->sent++;
    send_text(client->fd, 1, opt.payload.bytes, opt.payload.length, number);
}

/* ---- receiving ---- */

/* Where the text starts in the frame, or -1; tries first where the last frame had it. */
static long find(struct text *text, const unsigned char *frame, size_t length) {
    if (text->hint + text->length <= length && !memcmp(frame + text->hint, text->bytes, text->length)) return (long)text->hint;
    const unsigned char *found = memmem(frame, length, text->bytes, text->length);
    if (!found) return -1;
    return (long)(text->hint = (size_t)(found - frame));
}

static long number_behind(struct text *text, const unsigned char *frame, size_t length) {
    long at = find(text, frame, length), number = 0;
    if (at < 0) fail("no %s in: %.*s", text->bytes, (int)(length < 300 ? length : 300), frame);
    for (size_t i = (size_t)at + text->length; i < length && frame[i] >= '0' && frame[i] <= '9'; i++) number = number * 10 + frame[i] - '0';
    return number;
}

static void check_seq(struct client *client, long seq) {
    if (opt.mode == 'b') {
        if (first_seq < 0) first_seq = seq;
        if (seq != first_seq + client->frames) fail("client %ld got seq %ld where %ld was due", client - clients, seq, first_seq + client->frames);
        return;
    }
    if (seq <= client->last_seq) fail("client %ld got seq %ld after %ld", client - clients, seq, client->last_seq);
    client->last_seq = seq;
    if (seq >= seen_bits) {
        long bits = (seq + 1) * 2 + 4096;
        if (!(seen = realloc(seen, (size_t)bits / 8 + 1))) fail("out of memory");
        memset(seen + (seen_bits ? seen_bits / 8 + 1 : 0), 0, (size_t)(bits / 8 + 1 - (seen_bits ? seen_bits / 8 + 1 : 0)));
        seen_bits = bits;
    }
    if (seen[seq / 8] & (1 << seq % 8)) fail("two answers carry seq %ld", seq);
    seen[seq / 8] |= (unsigned char)(1 << seq % 8);
    if (first_seq < 0 || seq < first_seq) first_seq = seq;
    if (seq > top_seq) top_seq = seq;
}

static void on_text(struct client *client, const unsigned char *frame, size_t length, double when) {
    if (saying_hello) {
        if (memmem(frame, length, "\"error\"", 7)) fail("the hello was refused: %.*s", (int)(length < 300 ? length : 300), frame);
        client->hellos++;
        return;
    }
    if (opt.count.bytes && find(&opt.count, frame, length) < 0) { frames_other++; return; }
    if (opt.need.bytes && find(&opt.need, frame, length) < 0) fail("no %s in: %.*s", opt.need.bytes, (int)(length < 300 ? length : 300), frame);
    if (opt.same && (length != opt.payload.length || memcmp(frame, opt.payload.bytes, length))) fail("another message than was sent came back");
    if (opt.seq.bytes) check_seq(client, number_behind(&opt.seq, frame, length));
    frames_total++;
    if (opt.mode == 'i') return;
    if (opt.mode == 'b') {
        if (client->frames >= messages_sent) fail("client %ld got more messages than were sent", client - clients);
        long slot = client->frames++ % IN_FLIGHT_MAX;
        note_latency(when - published_at[slot]);
        if (frames_total == (messages_done + 1) * opt.clients) {
            messages_done++;
            if (sending && !opt.rate) publish(now());
        }
        return;
    }
    if (client->frames >= client->sent) fail("client %ld got more answers than it asked", client - clients);
    if (opt.id.bytes && number_behind(&opt.id, frame, length) != client->frames)
        fail("client %ld: answer %ld is: %.*s", client - clients, client->frames, (int)(length < 300 ? length : 300), frame);
    note_latency(when - client->sent_at[client->frames++ % opt.window]);
    messages_done++;
    if (sending) ask(client);
}

/* Consume the complete frames in the bytes; returns how many bytes that was. */
static size_t read_frames(struct client *client, const unsigned char *bytes, size_t length, double when) {
    size_t at = 0;
    while (length - at >= 2) {
        const unsigned char *frame = bytes + at;
        uint64_t payload = frame[1] & 127;
        size_t head = payload == 126 ? 4 : payload == 127 ? 10 : 2;
        if (length - at < head) break;
        if (head > 2) payload = 0;
        for (size_t i = 2; i < head; i++) payload = payload << 8 | frame[i];
        if (payload > INBOX / 2) fail("a frame of %llu bytes", (unsigned long long)payload);
        if (length - at < head + payload) break;
        at += head + payload;
        if (frame[0] == 0x81) on_text(client, frame + head, payload, when);
        else if (frame[0] == 0x89) send_text(client->fd, 10, (const char *)frame + head, payload, -1);
        else if (frame[0] == 0x88 && payload >= 2) fail("closed with %d %.*s", frame[head] << 8 | frame[head + 1], (int)payload - 2, frame + head + 2);
        else fail("a frame starting with 0x%02x", frame[0]);
    }
    return at;
}

static void receive(struct client *client) {
    size_t kept = client->rest_length;
    memcpy(inbox, client->rest, kept);
    ssize_t got = recv(client->fd, inbox + kept, sizeof inbox - kept, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) fail("client %ld: the server closed the connection", client - clients);
    size_t length = kept + (size_t)got, used = read_frames(client, inbox, length, now());
    client->rest_length = length - used;
    if (client->rest_length && !(client->rest = realloc(client->rest, client->rest_length))) fail("out of memory");
    memcpy(client->rest, inbox + used, client->rest_length);
}

/* One turn: wait at most this many milliseconds, read what has arrived. True if anything has. */
static bool turn(int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll_fd, events, 512, milliseconds);
    for (int i = 0; i < ready; i++)
        if (events[i].data.u32 != TIMER) receive(&clients[events[i].data.u32]);
    return ready > 0;
}

/* ---- the phases ---- */

static void open_client(struct client *client) {
    static const char format[] = "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval deadline = {.tv_sec = (long)LINGER};
    int on = 1;
    char *request;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    int length = asprintf(&request, format, opt.path, opt.port);
    if (length < 0) fail("out of memory");
    send_all(client->fd, (unsigned char *)request, (size_t)length);
    free(request);
    size_t got = 0;
    char *end = NULL;
    while (!end) {
        ssize_t more = recv(client->fd, inbox + got, 8192 - got, 0);
        if (more <= 0) fail("client %ld: no answer to the handshake", client - clients);
        got += (size_t)more;
        end = memmem(inbox, got, "\r\n\r\n", 4);
    }
    if (memcmp(inbox, "HTTP/1.1 101", 12)) fail("handshake refused: %.*s", (int)((unsigned char *)end - inbox), inbox);
    client->rest_length = got - (size_t)((unsigned char *)end + 4 - inbox);
    client->rest = allocate(client->rest_length);
    memcpy(client->rest, end + 4, client->rest_length);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->sent_at = allocate(sizeof(double) * (size_t)opt.window);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(client - clients)};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void say_hello(void) {
    double end = now() + PATIENCE, quiet_since = now();
    saying_hello = true;
    for (int i = 0; opt.hello.bytes && i < opt.clients; i++) {
        send_text(clients[i].fd, 1, opt.hello.bytes, opt.hello.length, i);
        while (turn(0)) quiet_since = now();
    }
    while (now() - quiet_since < QUIET) {
        if (turn(20)) quiet_since = now();
        if (now() > end) break; /* never quiet: what follows will count it */
    }
    for (int i = 0; opt.hello.bytes && i < opt.clients; i++)
        if (!clients[i].hellos) fail("client %d: no answer to its hello", i);
    saying_hello = false;
}

static void start_timer(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long period = (long)(1e9 / opt.rate);
    struct itimerspec spec = {.it_interval = {period / 1000000000, period % 1000000000}, .it_value = {0, 1}};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = TIMER};
    timerfd_settime(fd, 0, &spec, NULL);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void run_for(double start, double end) {
    for (double t; (t = now()) < end;) {
        for (double due; opt.rate && (due = start + (double)messages_sent / opt.rate) <= t;) publish(due);
        turn(50);
    }
}

static void run_load(void) {
    double start = now(), counted = start + opt.warmup;
    sending = true;
    if (opt.mode == 'b' && opt.rate) start_timer();
    else if (opt.mode == 'b') for (int w = 0; w < opt.window; w++) publish(now());
    else for (int w = 0; w < opt.window; w++) for (int i = 0; i < opt.clients; i++) ask(&clients[i]);
    run_for(start, counted);
    long frames_before = frames_total;
    double cpu_before = server_cpu();
    measuring = true;
    counted = now();
    run_for(start, counted + opt.seconds);
    double took = now() - counted, cpu = server_cpu() - cpu_before;
    long frames = frames_total - frames_before;
    measuring = sending = false;
    for (double end = now() + LINGER; messages_done < messages_sent && now() < end;) turn(50);
    if (messages_done < messages_sent) fail("%ld of %ld messages were not answered in full within %g s", messages_sent - messages_done, messages_sent, LINGER);
    while (turn(50)) {} /* one too many would fail in on_text */
    if (opt.mode == 'e' && opt.seq.bytes && top_seq - first_seq + 1 != frames_total) fail("%ld answers, but seq from %ld to %ld", frames_total, first_seq, top_seq);
    printf("{\"clients\": %d, \"window\": %d, \"rate\": %g, \"seconds\": %.4f, \"frames\": %ld, \"frames_per_second\": %.1f, \"messages_sent\": %ld, "
           "\"frames_total\": %ld, \"frames_other\": %ld, \"first_seq\": %ld, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"server_cpu_seconds\": %.2f}\n",
           opt.clients, opt.window, opt.rate, took, frames, frames / took, messages_sent, frames_total, frames_other, first_seq, percentile(0.5),
           percentile(0.99), slowest * 1e3, cpu);
}

static struct text text_of(const char *bytes) { return (struct text){.bytes = *bytes ? bytes : NULL, .length = strlen(bytes)}; }

static void parse(int count, char **arguments) {
    static const struct option names[] = {
        {"mode", 1, 0, 'm'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"clients", 1, 0, 'c'}, {"window", 1, 0, 'w'}, {"rate", 1, 0, 'r'},
        {"seconds", 1, 0, 's'}, {"warmup", 1, 0, 'u'}, {"payload", 1, 0, 't'}, {"hello", 1, 0, 'h'}, {"count", 1, 0, 'C'}, {"need", 1, 0, 'n'},
        {"same", 0, 0, 'S'}, {"seq", 1, 0, 'q'}, {"id", 1, 0, 'i'}, {"pid", 1, 0, 'd'}, {0, 0, 0, 0}};
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (name) {
        case 'm': opt.mode = optarg[0]; break;
        case 'p': opt.port = atoi(optarg); break;
        case 'P': opt.path = optarg; break;
        case 'c': opt.clients = atoi(optarg); break;
        case 'w': opt.window = atoi(optarg); break;
        case 'r': opt.rate = atof(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        case 'u': opt.warmup = atof(optarg); break;
        case 't': opt.payload = text_of(optarg); break;
        case 'h': opt.hello = text_of(optarg); break;
        case 'C': opt.count = text_of(optarg); break;
        case 'n': opt.need = text_of(optarg); break;
        case 'S': opt.same = true; break;
        case 'q': opt.seq = text_of(optarg); break;
        case 'i': opt.id = text_of(optarg); break;
        case 'd': opt.pid = atoi(optarg); break;
        default: exit(2);
        }
    }
    if (!strchr("bei", opt.mode) || opt.port < 1 || opt.clients < 1 || opt.window < 1 || opt.window >= IN_FLIGHT_MAX || (opt.mode != 'i' && !opt.payload.bytes))
        fail("usage: see the head of wsbench.c");
}

int main(int count, char **arguments) {
    parse(count, arguments);
    alarm((unsigned)(opt.warmup + opt.seconds + PATIENCE + 3 * LINGER)); /* it ends in any case */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = allocate(sizeof(struct client) * (size_t)opt.clients);
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < opt.clients; i++) {
        clients[i].last_seq = -1;
        open_client(&clients[i]);
    }
    say_hello();
    if (opt.mode == 'i') {
        puts("{\"ready\": true}");
        fflush(stdout);
        for (double end = now() + opt.seconds; now() < end;) turn(100);
        printf("{\"frames\": %ld}\n", frames_total);
    } else {
        run_load();
    }
    return 0;
}
