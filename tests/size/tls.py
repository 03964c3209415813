#!/usr/bin/env python3
"""Size of the quick start as one static musl program that speaks https by
BearSSL and checks certificates: with Debian's libbearssl and the system's
bundle, then with a -Os build of Debian's source and two anchors compiled in.
Each with musl's printf and with a small one (printf.c) in its place; the last
one without the texts of errors too.

Needs musl-tools and libbearssl-dev; the source is downloaded from Debian once.
"""
import collections
import glob
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

BUILD = os.environ.get("BUILD", "build")
FOLDER = os.path.join(BUILD, "size", "tls")
CC = ["musl-gcc", "-std=c99", "-Os", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables", "-fno-stack-protector"]
LINK = ["-static", "-no-pie", "-s", "-flto=2", "-Wl,--gc-sections", "-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,--build-id=none"]
PRINTF = "tests/size/printf.c"
# What the quick start does not use.
UNUSED = ["SBX_NO_ALLOC", "SBX_NO_CONFIG", "SBX_NO_DATES", "SBX_NO_EXECUTE", "SBX_NO_LEGACY", "SBX_NO_PORTS", "SBX_NO_SSE", "SBX_NO_SSH_AGENT", "SBX_NO_TRACE", "SBX_NO_TUNNEL", "SBX_NO_URLS",
          "SBX_POSIX_NO_THREADS"]
SMALL = ["-DQUICKSTART_BEARSSL", "-DSBX_BEARSSL_MINIMAL=1", "-DSBX_SMALL=1", "-DSBX_FREESTANDING=1", *(f"-D{u}=1" for u in UNUSED)]
ROOTS = ["ISRG_Root_X1", "ISRG_Root_X2"]


class Failed(Exception):
    pass


def call(arguments, **more):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        raise Failed(f"{arguments[0]}: {done.stdout.strip()[-600:]}")
    return done.stdout


def path(*names):
    return os.path.join(FOLDER, *names)


def headers():
    """BearSSL's alone: /usr/include is the other C library's."""
    os.makedirs(path("include"), exist_ok=True)
    for name in ("bearssl.h", "bearssl"):
        if not os.path.lexists(path("include", name)):
            os.symlink(os.path.join("/usr/include", name), path("include", name))


def source():
    """Debian's source package, by apt with lists of its own: deb-src need not be set up."""
    found = glob.glob(path("bearssl-*", "src"))
    if found:
        return os.path.dirname(found[0])
    os.makedirs(path("lists", "partial"), exist_ok=True)
    release = call(["sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME"]).strip()
    with open(path("source.list"), "w") as f:
        f.write(f"deb-src http://deb.debian.org/debian {release} main\n")
    options = ["-o", f"Dir::Etc::sourcelist={os.path.abspath(path('source.list'))}", "-o", "Dir::Etc::sourceparts=-",
               "-o", f"Dir::State::lists={os.path.abspath(path('lists'))}"]
    call(["apt-get", *options, "update"], cwd=FOLDER)
    call(["apt-get", *options, "source", "--download-only", "bearssl"], cwd=FOLDER)
    for archive in glob.glob(path("bearssl_*.orig.tar.*")):
        call(["tar", "xf", os.path.abspath(archive)], cwd=FOLDER)
    return os.path.dirname(glob.glob(path("bearssl-*", "src"))[0])


def debian_library():
    """Debian's, without its tables for unwinding: nothing throws here."""
    library = path("libbearssl.a")
    call(["objcopy", "-R", ".eh_frame", call(["gcc", "-print-file-name=libbearssl.a"]).strip(), library])
    return library


def small_library():
    library = path("libbearssl-os.a")
    if os.path.exists(library):
        return library
    root = source()
    files = sorted(glob.glob(os.path.join(root, "src", "**", "*.c"), recursive=True))
    os.makedirs(path("objects"), exist_ok=True)

    def compile_one(file):
        target = path("objects", os.path.basename(file)[:-1] + "o")
        call([*CC, "-std=gnu99", "-DBR_SSE2=0", "-DBR_AES_X86NI=0", "-DBR_RDRAND=0", "-I" + os.path.join(root, "src"),
              "-I" + os.path.join(root, "inc"), "-c", "-o", target, file])
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, files))
    call(["ar", "rcs", library, *objects])
    return library


def anchors():
    tool = path("pem_to_c")
    call(["gcc", "-std=c99", "-D_GNU_SOURCE", "-I.", "-Itransports", "-o", tool, "examples/anchors/pem_to_c.c", "-lbearssl"])
    files = [f"/etc/ssl/certs/{name}.pem" for name in ROOTS]
    with open(path("anchors.h"), "w") as f:
        f.write(call([tool, "anchors", *files]))
    return os.path.abspath(path("anchors.h"))


def shares(linker_map):
    """Bytes by where they come from."""
    found = collections.Counter()
    with open(linker_map) as f:
        text = re.sub(r"\n {2,}(0x)", r" \1", f.read().partition("Linker script and memory map")[2])
    for name, address, size, file in re.findall(r"^ (\.\S+) +0x([0-9a-f]+) +0x([0-9a-f]+) (\S+)", text, re.M):
        if int(address, 16) and not name.startswith((".bss", ".comment", ".note", ".debug")):
            found["BearSSL" if "bearssl" in file else "ours" if file.endswith((".o",)) and "crt" not in file else "libc"] += int(size, 16)
    return found


def program(name, flags, library, more=()):
    target = path(name)
    call([*CC, *SMALL, *flags, *LINK, f"-Wl,-Map={target}.map", "-I" + path("include"), "-o", target, "examples/quickstart.c", *more, library])
    size, found = os.path.getsize(target), shares(target + ".map")
    print(f"{name:34}{size:9,}   " + ", ".join(f"{k} {found[k]:,}" for k in ("ours", "BearSSL", "libc")))


def main():
    if not shutil.which("musl-gcc"):
        print("static quick start over TLS: musl-gcc is missing (Debian: musl-tools)")
        return 0
    os.makedirs(FOLDER, exist_ok=True)
    print("\nstatic musl quick start, https by BearSSL, stripped, bytes")
    try:
        headers()
        debian, small = debian_library(), small_library()
        compiled_in = ["-DSBX_BEARSSL_NO_FILES=1", f'-DQUICKSTART_ANCHORS="{anchors()}"']
        program("debian-libbearssl", [], debian, ["tests/size/fortify.c"])
        program("debian-libbearssl-printf", [], debian, ["tests/size/fortify.c", PRINTF])
        program("anchors-bearssl-os", compiled_in, small)
        program("anchors-bearssl-os-printf", compiled_in, small, [PRINTF])
        program("anchors-bearssl-os-printf-no-texts", [*compiled_in, "-DSBX_NO_ERROR_TEXT=1"], small, [PRINTF])
    except Failed as failed:
        print(f"FAIL {failed}")
        return 1
    print("targets: 150,000 and 120,000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
