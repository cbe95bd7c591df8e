//! The difference between two rulesets as a transaction: what a container brings or takes with it is a few entries of
//! maps, and what a network does is a few rules. To make a table anew costs by all there is on the host.

use std::collections::HashMap;

use wharf_netlink::nft::{Batch, Family as Tables};

use super::compile::Entries;
use super::{Chain, Elements, PortMap, Rule, Ruleset, Set, TABLE};

impl Ruleset {
    /// The transaction that makes this of `old`, which is in the kernel as it says; `handles` are those of a chain's rules
    /// there. Nothing if they differ in more than entries and rules, or if the kernel has other rules after all; the table
    /// is then made anew.
    ///
    /// # Errors
    /// That of `handles`.
    pub(super) fn change_from<E>(
        &self,
        old: &Self,
        mut handles: impl FnMut(&'static str) -> Result<Vec<u64>, E>,
    ) -> Result<Option<Batch<'static>>, E> {
        if !self.has_form_of(old) {
            return Ok(None);
        }
        let mut batch = Batch::new(Tables::Inet, TABLE);
        for (new, old) in self.sets.iter().zip(&old.sets) {
            if new != old {
                change_entries(new.name, new.entries(), old.entries(), &mut batch);
            }
        }
        for (new, old) in self.maps.iter().zip(&old.maps) {
            if new != old {
                change_entries(new.name, new.entries(), old.entries(), &mut batch);
            }
        }
        for (new, old) in self.chains.iter().zip(&old.chains) {
            if new.rules == old.rules {
                continue;
            }
            let handles = handles(new.name)?;
            if handles.len() != old.rules.len() {
                return Ok(None);
            }
            change_rules(new, &old.rules, &handles, &mut batch);
        }
        Ok(Some(batch))
    }

    /// Whether both have the same chains, maps and sets, whatever is in them.
    fn has_form_of(&self, old: &Self) -> bool {
        let chains = |of: &Self| -> Vec<_> {
            let all = of.chains.iter();
            all.map(|chain| (chain.name, chain.hook)).collect()
        };
        self.sets
            .iter()
            .map(Set::form)
            .eq(old.sets.iter().map(Set::form))
            && self
                .maps
                .iter()
                .map(PortMap::form)
                .eq(old.maps.iter().map(PortMap::form))
            && chains(self) == chains(old)
    }
}

impl Set {
    /// All but its elements.
    fn form(&self) -> (&'static str, super::Family, bool) {
        let by_port = matches!(self.elements, Elements::Ports(_));
        (self.name, self.family, by_port)
    }
}

impl PortMap {
    /// All but its entries.
    fn form(&self) -> (&'static str, super::Family, bool, bool) {
        (self.name, self.family, self.by_address, self.to_port)
    }
}

/// What is gone goes first: an entry that leads elsewhere now is both.
fn change_entries(name: &str, new: Entries, old: Entries, batch: &mut Batch<'_>) {
    let mut gone: HashMap<Vec<u8>, Vec<u8>> = old.into_iter().collect();
    let mut added = Entries::new();
    for (key, value) in new {
        if gone.get(&key) == Some(&value) {
            gone.remove(&key);
        } else {
            added.push((key, value));
        }
    }
    let gone: Entries = gone.into_keys().map(|key| (key, Vec::new())).collect();
    batch.delete_elements(name, &gone);
    batch.add_elements(name, &added);
}

/// A network's rules stand together: all before and behind them stays.
fn change_rules(chain: &Chain, old: &[Rule], handles: &[u64], batch: &mut Batch<'_>) {
    let new = &chain.rules;
    let equal = |(a, b): &(&Rule, &Rule)| a == b;
    let head = new.iter().zip(old).take_while(equal).count();
    let tails = new[head..].iter().rev().zip(old[head..].iter().rev());
    let tail = tails.take_while(equal).count();
    for handle in &handles[head..old.len() - tail] {
        batch.delete_rule(chain.name, *handle);
    }
    let next = handles.get(old.len() - tail);
    for rule in &new[head..new.len() - tail] {
        match next {
            Some(next) => batch.insert_rule(chain.name, *next, &rule.steps()),
            None => batch.add_rule(chain.name, &rule.steps()),
        }
    }
}
