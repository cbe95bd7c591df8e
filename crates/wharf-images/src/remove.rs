//! Untag or delete, and when neither (moby's `daemon/images/image_delete.go`, rule by rule).

use std::collections::BTreeMap;

use wharf_oci::{Digest, Reference};

use crate::lookup::{is_id_prefix, key_of};
use crate::records::{Change, State};
use crate::{ImageError, ImageUse, RemoveOptions, Removed};

/// Who uses an image: its containers in any state.
pub(crate) type Users<'a> = &'a dyn Fn(&Digest) -> Vec<ImageUse>;

/// What may keep an image from being deleted.
#[derive(Clone, Copy)]
struct Checks {
    /// Names, and stopped containers: what force overrides.
    references: bool,
    stopped: bool,
}

/// A removal while it is planned: nothing happens before all of it is allowed.
pub(crate) struct Plan<'a> {
    state: &'a State,
    users: Users<'a>,
    pub(crate) change: Change,
    pub(crate) removed: Vec<Removed>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(state: &'a State, users: Users<'a>) -> Plan<'a> {
        Plan {
            state,
            users,
            change: Change::default(),
            removed: Vec::new(),
        }
    }

    /// Plans what `docker rmi text` does.
    pub(crate) fn remove(&mut self, text: &str, options: RemoveOptions) -> Result<(), ImageError> {
        let id = self.state.lookup(text)?;
        if !options.platforms.is_empty() {
            return self.remove_platforms(text, &id, &options);
        }
        let mut untagged_last = false;
        if is_id_prefix(&id, text) {
            let names = self.names(&id);
            // All names are of one repository: they may all go.
            if is_single_reference(&names) {
                let checks = Checks {
                    references: false,
                    stopped: !options.force,
                };
                self.check(&id, checks)?;
                for name in names {
                    self.untag(name, &id);
                }
            }
        } else {
            if !self.untag_one(text, &id, &options)? {
                return Ok(());
            }
            untagged_last = true;
        }
        self.delete(&id, options.force, options.prune, untagged_last)
    }

    /// Plans the same for an image whose configuration cannot be read; whether there is one of that id or name. It goes with
    /// its last name. What it is for is not known: for a platform there is none.
    ///
    /// # Errors
    /// Docker's conflicts.
    pub(crate) fn remove_unreadable(
        &mut self,
        text: &str,
        options: &RemoveOptions,
    ) -> Result<bool, ImageError> {
        if !options.platforms.is_empty() {
            return Ok(false);
        }
        let by_name = Reference::parse_normalized(text).ok();
        let by_name = by_name.map(|name| key_of(&name));
        let named = by_name.and_then(|name| Some((*self.state.lost_names.get(&name)?, name)));
        if let Some((id, name)) = named {
            self.untag_unreadable(text, &id, name, options)?;
            return Ok(true);
        }
        // No less than Docker's short form: there is nothing that could be looked at first.
        let mut with_id = self.state.unreadable.keys();
        let id = with_id.find(|id| text.len() >= 12 && is_id_prefix(id, text));
        let Some(id) = id.copied() else {
            return Ok(false);
        };
        let names = self.state.lost_names_of(&id);
        let checks = Checks {
            references: !options.force && !is_single_reference(&names),
            stopped: !options.force,
        };
        self.check_used_by(&id, &names, checks, (self.users)(&id))?;
        self.delete_unreadable(&id);
        Ok(true)
    }

    fn untag_unreadable(
        &mut self,
        text: &str,
        id: &Digest,
        name: Reference,
        options: &RemoveOptions,
    ) -> Result<(), ImageError> {
        if !is_single_reference(&self.state.lost_names_of(id)) {
            self.untag(name, id);
            return Ok(());
        }
        let users = (self.users)(id);
        if let Some(user) = users.first().filter(|_| !options.force) {
            return Err(ImageError::ReferenceInUse {
                reference: text.to_owned(),
                container: short(&user.container),
                image: id.short(),
            });
        }
        match users.iter().any(|user| user.running) {
            // Whoever forces it loses the name alone.
            true => self.untag(name, id),
            false => self.delete_unreadable(id),
        }
        Ok(())
    }

    /// Plans that an image goes whose configuration cannot be read, with all its names.
    pub(crate) fn delete_unreadable(&mut self, id: &Digest) {
        for name in self.state.lost_names_of(id) {
            self.untag(name, id);
        }
        self.change.delete_images.push(*id);
        self.removed.push(Removed::Image(*id));
    }

    /// Removes the name that was given; whether it was the last one.
    fn untag_one(
        &mut self,
        text: &str,
        id: &Digest,
        options: &RemoveOptions,
    ) -> Result<bool, ImageError> {
        let name = key_of(&Reference::parse_normalized(text).map_err(ImageError::Reference)?);
        if !options.force
            && is_single_reference(&self.names(id))
            && let Some(user) = self.users_of(id).first()
        {
            return Err(ImageError::ReferenceInUse {
                reference: text.to_owned(),
                container: short(&user.container),
                image: id.short(),
            });
        }
        let by_tag = name.digest().is_none();
        self.untag(name.clone(), id);
        let same_repository = |other: &Reference| other.name() == name.name();
        let remaining = self.names(id);
        let has_tag = remaining
            .iter()
            .any(|other| other.digest().is_none() && same_repository(other));
        if by_tag && !has_tag {
            // Digests of a repository do not outlive its last tag.
            for digest in remaining.into_iter().filter(same_repository) {
                self.untag_and(false, digest, id);
            }
        }
        Ok(self.names(id).is_empty())
    }

    /// Deletes an image, and its parents if they are wanted by nobody else.
    pub(crate) fn delete(
        &mut self,
        id: &Digest,
        force: bool,
        prune: bool,
        quiet: bool,
    ) -> Result<(), ImageError> {
        let checks = Checks {
            references: !force,
            stopped: !force,
        };
        if let Err(conflict) = self.check(id, checks) {
            let used = matches!(conflict, ImageError::DeleteConflict { used: true, .. });
            // Only a user who would be left with a nameless image that nothing uses, or stands on, wants to know.
            if quiet && (used || !self.names(id).is_empty() || self.has_children(id)) {
                return Ok(());
            }
            return Err(conflict);
        }
        for name in self.names(id) {
            self.untag(name, id);
        }
        let parent = self.state.images.get(id).and_then(|e| e.record.parent);
        // The other platforms of an image go with its last name.
        let others = self.others(id);
        self.change.delete_images.push(*id);
        self.removed.push(Removed::Image(*id));
        self.release_layers(id);
        if prune {
            for other in others {
                self.delete(&other, force, false, true)?;
            }
        }
        match parent.filter(|parent| prune && self.state.images.contains_key(parent)) {
            Some(parent) => self.delete(&parent, false, true, true),
            None => Ok(()),
        }
    }

    /// Names the layers that go with the image, top first.
    fn release_layers(&mut self, id: &Digest) {
        let Some(entry) = self.state.images.get(id) else {
            return;
        };
        for chain in entry.chain.iter().rev() {
            let needed = self.state.images.iter().any(|(other, entry)| {
                !self.change.delete_images.contains(other) && entry.chain.contains(chain)
            });
            if needed {
                break;
            }
            self.removed.push(Removed::Layer(*chain));
        }
        // A stopped container of a deleted image still stands on its layers.
        if !(self.users)(id).is_empty() {
            self.removed.retain(
                |step| !matches!(step, Removed::Layer(chain) if entry.chain.contains(chain)),
            );
        }
    }

    /// Whether an image that stays was made on top of this one.
    fn has_children(&self, id: &Digest) -> bool {
        self.state.images.iter().any(|(child, entry)| {
            entry.record.parent == Some(*id) && !self.change.delete_images.contains(child)
        })
    }

    fn check(&self, id: &Digest, checks: Checks) -> Result<(), ImageError> {
        self.check_used_by(id, &self.names(id), checks, self.users_of(id))
    }

    /// As [`Self::check`], for one platform of an image.
    fn check_alone(&self, id: &Digest, checks: Checks) -> Result<(), ImageError> {
        self.check_used_by(id, &self.names(id), checks, (self.users)(id))
    }

    fn check_used_by(
        &self,
        id: &Digest,
        names: &[Reference],
        checks: Checks,
        users: Vec<ImageUse>,
    ) -> Result<(), ImageError> {
        let conflict = |hard, used, reason: String| {
            Err(ImageError::DeleteConflict {
                image: id.short(),
                hard,
                used,
                reason,
            })
        };
        if self.has_children(id) {
            return conflict(true, false, "image has dependent child images".to_owned());
        }
        if let Some(user) = users.iter().find(|user| user.running) {
            let container = short(&user.container);
            return conflict(
                true,
                true,
                format!("image is being used by running container {container}"),
            );
        }
        if checks.references && !names.is_empty() {
            return conflict(
                false,
                false,
                "image is referenced in multiple repositories".to_owned(),
            );
        }
        if let Some(user) = users.iter().find(|user| !user.running && checks.stopped) {
            let container = short(&user.container);
            return conflict(
                false,
                true,
                format!("image is being used by stopped container {container}"),
            );
        }
        Ok(())
    }

    /// Removes the images for some platforms. A name goes on to what is left, and goes with the last.
    fn remove_platforms(
        &mut self,
        text: &str,
        id: &Digest,
        options: &RemoveOptions,
    ) -> Result<(), ImageError> {
        let mut gone = Vec::new();
        for platform in &options.platforms {
            let one = self.state.lookup_for(text, Some(platform))?;
            if !gone.contains(&one) {
                gone.push(one);
            }
        }
        let left = self.state.variants(id);
        let heir = left.iter().find(|one| !gone.contains(one)).copied();
        let Some(heir) = heir.filter(|_| !is_id_prefix(id, text)) else {
            let whole = RemoveOptions {
                platforms: Vec::new(),
                ..options.clone()
            };
            return self.remove(text, whole);
        };
        for one in gone {
            let names = self.names(&one);
            let checks = Checks {
                references: false,
                stopped: !options.force,
            };
            self.check_alone(&one, checks)?;
            self.change
                .put_names
                .extend(names.into_iter().map(|name| (name, heir)));
            self.change.delete_images.push(one);
            self.removed.push(Removed::Image(one));
            self.release_layers(&one);
        }
        Ok(())
    }

    /// The images of the same index that only this image's names keep.
    fn others(&self, id: &Digest) -> Vec<Digest> {
        let mut all = self.state.variants(id);
        let gone = &self.change.delete_images;
        all.retain(|one| one != id && !gone.contains(one));
        // If another one has a name, all of them stay for it.
        match all.iter().any(|one| !self.names(one).is_empty()) {
            true => Vec::new(),
            false => all,
        }
    }

    /// The containers of an image, and of those that would go with it.
    fn users_of(&self, id: &Digest) -> Vec<ImageUse> {
        let mut users = (self.users)(id);
        if !self.state.names_of(id).is_empty() {
            users.extend(self.others(id).iter().flat_map(|other| (self.users)(other)));
        }
        users
    }

    /// The names that the image has left in this plan.
    fn names(&self, id: &Digest) -> Vec<Reference> {
        let mut names = self.state.names_of(id);
        names.retain(|name| !self.change.delete_names.contains(name));
        names
    }

    fn untag(&mut self, name: Reference, id: &Digest) {
        self.untag_and(true, name, id);
    }

    /// `is_told`: of [`Removed::Untagged`].
    fn untag_and(&mut self, is_told: bool, name: Reference, id: &Digest) {
        let entry = self.state.images.get(id);
        self.removed.push(Removed::Untagged {
            name: name.familiar(),
            image: *id,
            labels: entry.map_or_else(BTreeMap::new, |entry| entry.config.config.labels.clone()),
            is_told,
        });
        self.change.delete_names.push(name);
    }
}

/// At most one tag, and all digests of the same repository as it.
fn is_single_reference(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let (digests, tags): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.digest().is_some());
    let first = digests.first().map(|name| name.name());
    let one_repository = digests.iter().all(|name| Some(name.name()) == first);
    match tags[..] {
        [] => one_repository,
        [tag] => one_repository && first == Some(tag.name()),
        _ => false,
    }
}

/// Docker's short form of a container's id.
fn short(container: &str) -> String {
    container.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
