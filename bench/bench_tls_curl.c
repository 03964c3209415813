/* TLS by libcurl. */
#include "bench.h"
#include "../transports/sandbox_curl.h"
#include "bench_tls.h"

/* ---- the same library, plain ---- */

static void raw_wait(CURL *easy, short events)
{
    curl_socket_t fd;
    struct pollfd p;

    curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
    p.fd = fd;
    p.events = events;
    poll(&p, 1, -1);
}

static double raw_read(const peer *p, const char *path, uint64_t expected)
{
    static char piece[PIECE];
    char url[64], head[128];
    CURL *easy = curl_easy_init();
    double t = bench_now();
    uint64_t total = 0;
    size_t n;
    CURLcode r;

    snprintf(url, sizeof url, "https://localhost:%u/", p->port);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (curl_easy_perform(easy) != CURLE_OK)
        bench_die("the plain reader could not connect", NULL);
    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\n\r\n", path);
    if (curl_easy_send(easy, head, strlen(head), &n) != CURLE_OK)
        bench_die("the plain reader could not ask", NULL);
    while ((r = curl_easy_recv(easy, piece, sizeof piece, &n)) == CURLE_AGAIN || (r == CURLE_OK && n)) {
        if (r == CURLE_AGAIN)
            raw_wait(easy, POLLIN);
        else
            total += n;
    }
    curl_easy_cleanup(easy);
    if (total != expected)
        bench_die("the plain reader lost bytes", NULL);
    return bench_now() - t;
}

/* A client, so a session cache, for each. */
static void full_handshakes(const peer *p, const sbx_curl_config *config)
{
    double t = bench_now();

    for (int i = 0; i < SHAKES; i++) {
        sbx_status_info info;
        sbx_box box;
        sbx_client *c = open_client(p, &box, &sbx_curl, config);

        bench_ok(c, sbx_get_status(c, &box, NULL, &info), "status");
        sbx_close(c);
    }
    printf("%-44s %6.0f a second\n", "full handshakes, a client and a request each", SHAKES / (bench_now() - t));
}

int main(void)
{
    peer p = begin();
    sbx_curl_config config = { .ca_file = ca, .proxy = "" };
    int rounds = bench_rounds();

    transfers(&p, &sbx_curl, &config, raw_read, rounds);
    full_handshakes(&p, &config);
    handshakes(&p, &sbx_curl, &config, "resumed handshakes, a request each", rounds);
    return end(&p);
}
