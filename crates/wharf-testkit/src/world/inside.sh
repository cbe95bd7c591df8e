# Then it says so, and reaps until it is killed.
echo ready
sleep infinity &
while :; do wait || true; done
