//! Black-box scenarios over the API and the docker command, ours and dockerd.
