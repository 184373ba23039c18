#!/usr/bin/env bash
# `build.sh dependencies|binary NAME FEATURES`: the two steps of a build in the Dockerfile, for server and trainer alike.
#
# `dependencies` compiles what others wrote, for an empty crate with the manifest's dependencies, and collects its licences;
# `binary` compiles our own sources. What is to be in the image lies in /out afterwards.
set -euo pipefail
step="$1" binary="$2" features="$3"
triple="$(cat /triple)"
chosen=(--locked --no-default-features --features "$features" --target "$triple")

compile() { cargo build --profile dist "${chosen[@]}" --bin "$binary"; }

case "$step" in
    dependencies)
        mkdir -p src/bin /out/licenses
        touch src/lib.rs
        for name in server trainer; do echo 'fn main() {}' >"src/bin/$name.rs"; done
        compile
        docker/licenses.sh "${chosen[@]:1}" >/out/licenses/THIRD-PARTY.txt
        ;;
    binary)
        # Cargo goes by the files' times: those of a checkout may be older than the empty crate's.
        touch src/lib.rs src/bin/*.rs
        compile
        install -D "target/$triple/dist/$binary" "/out/$binary"
        ;;
    *)
        echo "build.sh: dependencies or binary, not $step" >&2
        exit 1
        ;;
esac
