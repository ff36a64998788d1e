#!/usr/bin/env bash
# Makes sure that the system libraries are there: installs them through apt where that is
# permitted (root, or sudo without a password), else says which packages are missing.
set -euo pipefail

python="${PYTHON:-python3}"
missing=()

# library : Debian package that brings it. What Qt, OpenGL and OpenCV load when napari opens.
libraries="$(/sbin/ldconfig -p 2>/dev/null || true)"
while read -r library package; do
    [[ "$libraries" == *"$library"* ]] || missing+=("$package")
done <<'LIST'
libEGL.so.1 libegl1
libGL.so.1 libgl1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-shape.so.0 libxcb-shape0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
LIST
command -v Xvfb >/dev/null || missing+=(xvfb)
command -v xauth >/dev/null || missing+=(xauth)

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is missing or older than 3.11; name another one: make PYTHON=python3.12 …" >&2
    exit 1
fi
# Debian splits these off
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ "$(uname -s)" != Linux ]]; then
    exit 0 # the wheels bring everything that macOS and Windows need
fi
sudo=()
if [[ $EUID -ne 0 ]]; then
    sudo=(sudo -n)
fi
if ! command -v apt-get >/dev/null || { [[ $EUID -ne 0 ]] && ! sudo -n true 2>/dev/null; }; then
    echo "Missing system packages (Debian's names): ${missing[*]}" >&2
    echo "Install them, then run make again: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq </dev/null
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
