#!/usr/bin/env bash
# `licenses.sh CARGO-TREE-ARGUMENTS`: prints what a static binary has to carry along: every crate in it with licence and
# source, then each licence text once, then those of the C library and of Rust's own. The crates must be fetched.
# It fails where a crate has neither a text nor a licence whose text is known.
set -euo pipefail

registry="${CARGO_HOME:-$HOME/.cargo}/registry/src"
# The texts of common licences, which the toolchain brings along.
known="$(rustc --print sysroot)/share/doc/rust/licenses"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Of our own crate the repository's LICENSE speaks; it stands in the image beside this.
cargo tree --locked --edges normal --prefix none --no-dedupe --format '{p}|{l}' "$@" >"$work/tree"
sed -e 's/ (proc-macro)//' -e '/ (\/.*)|/d' "$work/tree" | sort -u >"$work/crates"
[ -s "$work/crates" ] || { echo "licenses.sh: cargo tree names no crate" >&2; exit 1; }

# A folder for each distinct text, called by its digest, spaces and line ends left aside.
collect() {
    local owner="$1" text="$2" digest
    digest="$(tr -s '[:space:]' ' ' <"$text" | sha256sum | cut -d' ' -f1)"
    mkdir -p "$work/texts/$digest"
    cp "$text" "$work/texts/$digest/text"
    echo "$owner" >>"$work/texts/$digest/owners"
}

while IFS='|' read -r package licence; do
    name="${package%% v*}" version="${package##* v}"
    folder=("$registry"/*/"$name-$version")
    [ -d "${folder[0]}" ] || { echo "licenses.sh: $name $version is not in $registry: run cargo fetch" >&2; exit 1; }
    echo "$name $version: $licence, https://crates.io/crates/$name/$version" >>"$work/list"
    # Four levels: crates that compile C keep the C library's own text deeper down.
    find "${folder[0]}" -maxdepth 4 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \
        -o -iname 'unlicense*' -o -iname 'copyright*' \) ! -name '*.rs' ! -name '*.py' | sort >"$work/found"
    if [ -s "$work/found" ]; then
        while read -r text; do collect "$name $version" "$text"; done <"$work/found"
        continue
    fi
    # A crate that carries no text: that of its licence, the first that is known of those it offers.
    text=""
    for offered in Apache-2.0 MIT BSD-3-Clause BSD-2-Clause ISC; do
        case " ${licence//[()\/]/ } " in *" $offered "*) [ -f "$known/$offered.txt" ] && text="$known/$offered.txt" && break ;; esac
    done
    [ -n "$text" ] || { echo "licenses.sh: no licence text for $name $version ($licence)" >&2; exit 1; }
    collect "$name $version (carries no text of its own)" "$text"
done <"$work/crates"

echo "Software of others in this image"
echo
cat "$work/list"
echo "Rust's standard library, $(rustc --version | cut -d' ' -f2): MIT OR Apache-2.0, https://github.com/rust-lang/rust"
echo "GNU C library (static): LGPL-2.1-or-later, https://www.gnu.org/software/libc; this program's sources and the Dockerfile"
echo "    rebuild the binary with another version of it"
for folder in "$work"/texts/*; do
    printf '\n%s\n' "--------------------------------------------------------------------------------"
    sort -u "$folder/owners" | paste -sd, | sed 's/,/, /g' | fold -sw 120
    echo
    cat "$folder/text"
done
for text in /usr/share/doc/libc6/copyright "$known/../COPYRIGHT"; do
    [ -f "$text" ] || continue
    printf '\n%s\n%s\n\n' "--------------------------------------------------------------------------------" "$text"
    cat "$text"
done
