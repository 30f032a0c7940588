#!/bin/sh
# Installs what the tests need: Debian packages (as root, where apt is) and pytest for every Python found.
# Does nothing, and needs no network, when all is there.  What cannot be installed is said, and its tests skip with a reason.
set -u
cd "$(dirname "$0")/.." || exit 1

PACKAGES="clang-16 llvm-16 bpftool dwarves libbpf-dev bpfcc-tools python3-bpfcc libelf-dev linux-libc-dev
  qemu-system-x86 busybox-static cpio kmod zstd xz-utils systemtap-sdt-dev iproute2 gdb binutils openssl gcc libc6-dev git make"

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	missing=""
	for package in $PACKAGES; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
	done
	if [ -n "$missing" ] && [ "$(id -u)" = 0 ]; then
		echo "setup: installing$missing"
		for attempt in 1 2 3; do
			{ [ $attempt = 1 ] || apt-get -qq update; } &&
				DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 install -y --no-install-recommends $missing >/dev/null && missing="" && break
			sleep 5
		done
	fi
	[ -z "$missing" ] || echo "setup: not installed:$missing" >&2
fi

python3 scripts/pythons.py | while read -r version path; do
	case $version in
	2.7.*) wanted="pytest<5 wheel setuptools" ;;
	3.5.*) wanted="pytest<6.2" ;;
	3.6.*) wanted="pytest<7.1" ;;
	3.11.*) wanted="pytest pyflakes pycodestyle setuptools wheel build" ;;
	*) wanted="pytest" ;;
	esac
	lacking=""
	for one in $wanted; do
		"$path" -c "import ${one%%<*}" 2>/dev/null || lacking="$lacking $one"
	done
	if [ -n "$lacking" ]; then
		echo "setup: Python $version:$lacking"
		"$path" -m pip --version >/dev/null 2>&1 || "$path" -m ensurepip >/dev/null 2>&1
		case $version in  # pip 18 offers these Pythons packages that they cannot run
		3.5.*) "$path" -m pip install -q 'pip==20.3.4' >/dev/null 2>&1 ;;
		3.6.*) "$path" -m pip install -q 'pip==21.3.1' >/dev/null 2>&1 ;;
		esac
		"$path" -m pip install -q --disable-pip-version-check $lacking </dev/null 2>&1 | grep -v -e DEPRECATION -e 'running pip as' -e '^$'
	fi
done
exit 0
