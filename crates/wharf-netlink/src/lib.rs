//! Links, addresses, routes and nftables batches over netlink, typed.
