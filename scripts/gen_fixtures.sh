#!/bin/bash
# Rebuilds tests/fixtures/bpf/*.bpf.o from their sources, with one pinned compiler, so that two machines make the same bytes.
#   scripts/gen_fixtures.sh [NAME...]     build all (or those), in place
#   scripts/gen_fixtures.sh --check       build into a temporary folder and compare with what is committed (for CI); exit 1 if they differ
# Also makes tests/fixtures/btf/*.btf, raw BTF of the C files beside them, that stand for kernels.
# A source may say in its first line `build: FLAG...`: flags for clang, or strip-btf, strip-btf-ext (sections taken out afterwards).
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../tests/fixtures/bpf"
CLANG=${CLANG:-clang-16} OBJCOPY=${LLVM_OBJCOPY:-llvm-objcopy-16} STRIP=${LLVM_STRIP:-llvm-strip-16}
INCLUDE=${LBC_BPF_INCLUDE:-/usr/include}      # holds bpf/bpf_helpers.h (libbpf 1.1) and linux/bpf.h (6.1)

"$CLANG" --version | grep -q 'clang version 16\.' || { echo "gen_fixtures: needs clang 16 (set CLANG)" >&2; exit 2; }

build() { # source object
	local flags strip=-g
	flags=$(sed -n '1s/^.*build: *\([^*]*\).*$/\1/p' "$1")
	local drop=()
	case " $flags " in
	*" strip-btf "*) drop=(--remove-section=.BTF --remove-section=.rel.BTF --remove-section=.BTF.ext --remove-section=.rel.BTF.ext) ;;
	*" strip-btf-ext "*) drop=(--remove-section=.BTF.ext --remove-section=.rel.BTF.ext) ;;
	esac
	flags=${flags//strip-btf-ext/}; flags=${flags//strip-btf/}
	# line information names the source as given here (relative) and no folder of this machine
	"$CLANG" -target bpf -mcpu=v2 -g -O2 -Wall -Werror -fno-ident -D__TARGET_ARCH_x86 \
		-fdebug-compilation-dir=/ -ffile-prefix-map="$PWD"=. -fdebug-prefix-map="$INCLUDE"=include \
		-isystem "$INCLUDE" -idirafter "$INCLUDE/$(uname -m)-linux-gnu" \
		$flags -c "$1" -o "$2"
	"$STRIP" $strip "$2"           # DWARF goes; .BTF and .BTF.ext stay
	if [ ${#drop[@]} -gt 0 ]; then "$OBJCOPY" "${drop[@]}" "$2"; fi
}

raw_btf() { # source target
	local object
	object=$(mktemp)
	"$CLANG" -target bpf -g -O2 -Wall -Werror -fno-ident -fdebug-compilation-dir=/ -ffile-prefix-map="$PWD"=. -c "$1" -o "$object"
	"$OBJCOPY" --dump-section=.BTF="$2" "$object" "$object.out"
	rm -f "$object" "$object.out"
}

if [ "${1:-}" = --check ]; then
	temporary=$(mktemp -d); trap 'rm -rf "$temporary"' EXIT
	bad=0
	for source in ../btf/*.c; do
		raw_btf "$source" "$temporary/btf"
		cmp -s "$temporary/btf" "${source%.c}.btf" || { echo "gen_fixtures: ${source%.c}.btf is not what $source builds" >&2; bad=1; }
	done
	for source in *.bpf.c; do
		object=${source%.c}.o
		build "$source" "$temporary/$object"
		cmp -s "$temporary/$object" "$object" || { echo "gen_fixtures: $object is not what $source builds" >&2; bad=1; }
	done
	for object in *.bpf.o; do
		[ -f "${object%.o}.c" ] || { echo "gen_fixtures: $object has no source" >&2; bad=1; }
	done
	[ $bad = 0 ] && echo "gen_fixtures: $(ls ./*.bpf.o | wc -l) objects match their sources"
	exit $bad
fi

if [ $# -gt 0 ]; then
	for name; do build "$name.bpf.c" "$name.bpf.o"; done
else
	for source in *.bpf.c; do build "$source" "${source%.c}.o"; done
	for source in ../btf/*.c; do raw_btf "$source" "${source%.c}.btf"; done
fi
