# Then it says so, and reaps until it is killed.
echo ready
# Its child is killed with it; should somebody kill the child alone, this must not become a busy loop.
while :; do
    sleep infinity &
    wait $! || true
done
