#!/bin/sh
# Builds kube-apiserver, kube-controller-manager, etcd and kubectl from their published Go modules and prints the
# folder that holds them, in the layout that KUBEBUILDER_ASSETS names. See README.md.
#
# Does nothing but print when the folder already holds a build of these very sources.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=$(sed -n 's|^[[:space:]]*k8s.io/kubernetes v\([0-9.]*\)$|\1|p' "$here/go.mod" | head -n 1)
if [ -z "$version" ]; then
    echo "build.sh: go.mod names no version of k8s.io/kubernetes" >&2
    exit 1
fi
major=${version%%.*}
rest=${version#*.}
minor=${rest%%.*}

cache=${KELOS_ENVTEST_CACHE:-$HOME/.cache/kelos-envtest}
assets=$cache/$version
key="$version $(cat "$here/go.mod" "$here/go.sum" "$here/main.go" | git hash-object --stdin)"

if [ -f "$assets/key" ] && [ "$(cat "$assets/key")" = "$key" ]; then
    echo "$assets"
    exit 0
fi

if ! command -v go >/dev/null 2>&1; then
    echo "build.sh: no Go compiler is on the PATH; install Go 1.26 or newer" >&2
    exit 1
fi

mkdir -p "$cache"
# Built beside its place and moved there whole, so that an interrupted build leaves nothing that looks finished.
staging=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 1' HUP INT TERM

echo "build.sh: building Kubernetes $version; the first time takes five to ten minutes" >&2
package=k8s.io/component-base/version
(
    cd "$here"
    CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$staging/envtest" -ldflags "-s -w \
        -X $package.gitVersion=v$version -X $package.gitMajor=$major -X $package.gitMinor=$minor" .
)
for name in etcd kube-apiserver kube-controller-manager kubectl; do
    ln -s envtest "$staging/$name"
done
printf '%s' "$key" >"$staging/key"
chmod 755 "$staging"

rm -rf "$assets"
mv "$staging" "$assets"
trap - EXIT
echo "$assets"
