//! Hearing of what others change: tables of nftables, links and addresses.

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use crate::NetlinkError;
use crate::message;
use crate::nft::Nftables;
use crate::socket::Channel;

/// `NFNLGRP_NFTABLES`.
const TABLES: u32 = 7;
/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`.
const LINKS_AND_ADDRESSES: [u32; 3] = [1, 5, 9];
const DELETED_LINK: u16 = 17;
const DELETED_ADDRESS: u16 = 21;
/// In every message of nftables.
const TABLE_NAME: u16 = 1;

/// Hears of changes to nftables in the network namespace it was opened in.
pub struct TableWatch {
    channel: Channel,
}

impl TableWatch {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let channel = Channel::listen(NETLINK_NETFILTER, &[TABLES])?;
        Ok(Self { channel })
    }

    /// Waits for a change, and says whether it was one of the table `name` by somebody else than `own`, or may have
    /// been.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn changed(&mut self, name: &str, own: u32) -> Result<bool, NetlinkError> {
        let mut changed = false;
        let all = self.channel.hear(|news| {
            let attributes = news.payload.get(4..).unwrap_or_default();
            let table = message::attributes(attributes).find(|(kind, _)| *kind == TABLE_NAME);
            let ours = table.is_some_and(|(_, text)| message::text_of(text) == name);
            changed |= ours && news.port != own;
        })?;
        Ok(changed || !all)
    }

    /// Waits until the news of a change by `own` have come, and forgets what came before: of a table that `own` has
    /// replaced, that is the past. `false` if some news were lost, those among them perhaps.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn pass(&mut self, own: u32) -> Result<bool, NetlinkError> {
        let mut passed = false;
        while !passed {
            if !self.channel.hear(|news| passed |= news.port == own)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets the changes until now.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn skip(&mut self) -> Result<(), NetlinkError> {
        self.channel.skip()
    }
}

impl Nftables {
    /// What [`TableWatch::changed`] knows changes by way of this socket by.
    pub fn port(&self) -> u32 {
        self.channel.port()
    }
}

/// Hears of links and addresses that go, in the network namespace it was opened in.
pub struct LinkWatch {
    channel: Channel,
}

impl LinkWatch {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let channel = Channel::listen(NETLINK_ROUTE, &LINKS_AND_ADDRESSES)?;
        Ok(Self { channel })
    }

    /// Waits for news, and returns the indexes of links that went or lost an address; `None` if some of the news
    /// were lost.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn lost(&mut self) -> Result<Option<Vec<u32>>, NetlinkError> {
        let mut links = Vec::new();
        let all = self.channel.hear(|news| {
            // The index stands at the same place in both.
            if matches!(news.kind, DELETED_LINK | DELETED_ADDRESS) {
                links.extend(message::u32_at(news.payload, 4));
            }
        })?;
        Ok(all.then_some(links))
    }

    /// Forgets the news until now.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn skip(&mut self) -> Result<(), NetlinkError> {
        self.channel.skip()
    }
}
