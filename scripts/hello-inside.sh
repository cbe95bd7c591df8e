bin=$1 fixtures=$2 work=$3
export WHARF_HOST=unix://$work/wharf.sock
"$bin/wharf" daemon -H "$WHARF_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
    > "$work/log" 2>&1 &
daemon=$!
until "$bin/wharf" version > /dev/null 2>&1; do
    kill -0 $daemon 2> /dev/null || { cat "$work/log"; exit 1; }
done
printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "%s"}}\nhttp: {addr: "127.0.0.1:5000"}\n' \
    "$fixtures/registry" > "$work/registry.yml"
docker-registry serve "$work/registry.yml" > "$work/registry.log" 2>&1 &
until (exec 4<> /dev/tcp/127.0.0.1/5000) 2> /dev/null; do kill -0 $!; done
(
    set -x
    "$bin/wharf" run --rm hello-world
    "$bin/wharf" run --rm 127.0.0.1:5000/library/debian:bookworm sh -c '. /etc/os-release; echo "Hello from $PRETTY_NAME"'
    "$bin/wharf" images
    "$bin/wharf" system df
)
kill $daemon
wait $daemon || true
