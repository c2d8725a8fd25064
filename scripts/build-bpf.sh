#!/bin/sh
# Compiles the eBPF programs to packages/datapath/bpf/build/. Needs clang >= 14 and libbpf's headers.
#   weft.bpf.o        the programs
#   weft-probe.bpf.o  asks the kernel what its helpers know
#   weft-bench.bpf.o  traffic for measurements
#   weft-sabotage.bpf.o  the programs without the owner check, for the test that shows what it is for
set -eu
script=$(readlink -f "$0")
cd "$(dirname "$script")/../packages/datapath/bpf"

# Nothing to do when every object is newer than every source: then it needs neither clang nor write access (`make clean` forces).
stale() {
	for object in weft weft-probe weft-bench weft-sabotage; do
		[ -f "build/$object.bpf.o" ] || return 0
		[ -z "$(find . "$script" -path ./build -prune -o -type f -newer "build/$object.bpf.o" -print | head -n 1)" ] || return 0
	done
	return 1
}
stale || exit 0

CLANG=${CLANG:-clang}
command -v "$CLANG" >/dev/null || { echo "build-bpf: no $CLANG: install clang (>= 14) or set CLANG" >&2; exit 1; }
mkdir -p build
compile() {
	out=$1 src=$2
	shift 2
	# Written aside and moved: a process that loads the object meanwhile sees the old one or the new one, whole.
	"$CLANG" -O2 -g -Wall -Werror -Wno-unused-function -fno-strict-aliasing -fdebug-prefix-map="$PWD"=. -target bpf -mcpu=v3 \
		-I"/usr/include/$(uname -m)-linux-gnu" -I. "$@" -c "$src" -o "build/$out.$$"
	mv "build/$out.$$" "build/$out"
}
compile weft.bpf.o weft.c
compile weft-probe.bpf.o weft_probe.c
compile weft-bench.bpf.o weft_bench.c
compile weft-sabotage.bpf.o weft.c -DWEFT_NO_OWNER_CHECK
