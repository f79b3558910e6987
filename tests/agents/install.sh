#!/bin/sh
# Installs the programs of agents that the tests run against a scripted model, and prints the folder that holds them:
# the packages of package-lock.json in its folder `programs`, with the programs in `programs/bin`. See README.md.
#
# Asks the npm registry only, and only when this lock file is not installed yet. Nothing of the packages is run.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${KELOS_AGENTS:-$HOME/.cache/kelos-agents}

machine=$(uname -sm)
if [ "$machine" != "Linux x86_64" ]; then
    echo "install.sh: the programs are looked for where npm puts those for Linux on x86-64, and this is $machine" >&2
    exit 1
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "install.sh: no npm is on the PATH; install Node.js 20 or newer" >&2
    exit 1
fi

folder=$cache/programs-$(git hash-object "$here/package-lock.json" | cut -c1-12)
if [ ! -d "$folder" ]; then
    mkdir -p "$cache"
    # Made beside its place and moved there whole: an interrupted run leaves nothing that looks finished.
    staging=$(mktemp -d "$cache/installing.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 1' HUP INT TERM
    cp "$here/package.json" "$here/package-lock.json" "$staging"
    echo "install.sh: fetching the programs of agents, about 400 MB, which become 1.1 GB" >&2
    npm ci --prefix "$staging" --ignore-scripts --no-fund --no-audit --loglevel error >&2
    mkdir "$staging/bin" "$staging/home" "$staging/home/tmp"
    ln -s ../node_modules/@anthropic-ai/claude-code-linux-x64/claude "$staging/bin/claude"
    ln -s ../node_modules/@openai/codex/bin/codex.js "$staging/bin/codex"
    ln -s ../node_modules/@google/gemini-cli/bundle/gemini.js "$staging/bin/gemini"
    ln -s ../node_modules/opencode-linux-x64/bin/opencode "$staging/bin/opencode"
    for program in claude codex gemini opencode; do
        # Some unpack libraries into the temporary folder and leave them there.
        HOME=$staging/home TMPDIR=$staging/home/tmp "$staging/bin/$program" --version >/dev/null || {
            echo "install.sh: $program does not start" >&2
            exit 1
        }
    done
    rm -rf "$staging/home"
    chmod 755 "$staging"
    mv -T "$staging" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
ln -sfn "$(basename "$folder")" "$cache/programs"

echo "$cache"
