/* Certificates in PEM as trust anchors in C, to be compiled in: for programs
   without files, or that trust their own CA alone.

     pem_to_c NAME FILE... > anchors.h

   The output is C99: the array NAME and the number NAME_n, for the fields
   `anchors` and `anchors_n` of sbx_bearssl_config. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_bearssl.h"

#include <ctype.h>
#include <stdio.h>

static const char *name;
static unsigned count;

static void print_bytes(const char *what, const unsigned char *p, size_t n)
{
    printf("static const unsigned char %s_%s_%u[] = {", name, what, count);
    for (size_t i = 0; i < n; i++)
        printf("%s0x%02X%s", i % 16 ? " " : "\n    ", p[i], i + 1 < n ? "," : "");
    printf("\n};\n");
}

/* First pass: what the anchors point to. */
static bool print_parts(void *user, const br_x509_trust_anchor *a)
{
    (void)user;
    print_bytes("dn", a->dn.data, a->dn.len);
    if (a->pkey.key_type == BR_KEYTYPE_RSA) {
        print_bytes("n", a->pkey.key.rsa.n, a->pkey.key.rsa.nlen);
        print_bytes("e", a->pkey.key.rsa.e, a->pkey.key.rsa.elen);
    } else {
        print_bytes("q", a->pkey.key.ec.q, a->pkey.key.ec.qlen);
    }
    count++;
    return true;
}

/* BearSSL's pointers are not const, but it only reads. */
static void print_part(const char *what)
{
    printf("(unsigned char *)%s_%s_%u, sizeof %s_%s_%u", name, what, count, name, what, count);
}

/* Second pass: the anchors. */
static bool print_anchor(void *user, const br_x509_trust_anchor *a)
{
    (void)user;
    printf("    { { ");
    print_part("dn");
    printf(" }, %s, ", a->flags & BR_X509_TA_CA ? "BR_X509_TA_CA" : "0");
    if (a->pkey.key_type == BR_KEYTYPE_RSA) {
        printf("{ BR_KEYTYPE_RSA, { .rsa = { ");
        print_part("n");
        printf(", ");
        print_part("e");
    } else {
        printf("{ BR_KEYTYPE_EC, { .ec = { %d, ", a->pkey.key.ec.curve);
        print_part("q");
    }
    printf(" } } } },\n");
    count++;
    return true;
}

static bool each_file(char **files, bool (*print)(void *user, const br_x509_trust_anchor *a))
{
    for (count = 0; *files; files++)
        if (sbx_bearssl_pem(*files, print, NULL) != SBX_OK) {
            fprintf(stderr, "%s: cannot be read, or has no certificate in PEM\n", *files);
            return false;
        }
    return true;
}

static bool is_identifier(const char *s)
{
    if (isdigit((unsigned char)*s))
        return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return !*s;
}

int main(int argc, char **argv)
{
    if (argc < 3 || !is_identifier(argv[1])) {
        fprintf(stderr, "usage: pem_to_c NAME FILE... > anchors.h\n");
        return 2;
    }
    name = argv[1];
    printf("/* Trust anchors, made by pem_to_c. */\n#include <bearssl.h>\n\n");
    if (!each_file(argv + 2, print_parts))
        return 1;
    printf("static const br_x509_trust_anchor %s[] = {\n", name);
    if (!each_file(argv + 2, print_anchor))
        return 1;
    printf("};\nenum { %s_n = sizeof %s / sizeof %s[0] };\n", name, name, name);
    return fflush(stdout) || ferror(stdout);
}
