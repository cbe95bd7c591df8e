//! Networks: bridges, addresses, published ports, firewall, resolver files.
