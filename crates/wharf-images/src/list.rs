//! Which images are shown (moby's `daemon/images/images.go`).

use std::collections::HashMap;

use jiff::Timestamp;
use wharf_oci::{Digest, Reference};

use crate::glob;
use crate::records::{Entry, State};
use crate::{Image, ImageError, ListOptions};

impl State {
    /// The images that the options ask for, newest first.
    pub(crate) fn list(&self, options: &ListOptions) -> Result<Vec<Image>, ImageError> {
        let created = |name: &String| -> Result<Timestamp, ImageError> {
            let id = self.lookup(name)?;
            let entry = self.images.get(&id);
            Ok(entry.map_or_else(Timestamp::default, |entry| entry.created()))
        };
        let all = |names: &[String]| names.iter().map(created).collect::<Result<Vec<_>, _>>();
        let before = all(&options.before)?.into_iter().min();
        let since = all(&options.since)?.into_iter().max();
        for pattern in &options.references {
            glob::validate(pattern).map_err(ImageError::InvalidFilter)?;
        }
        let mut images = Vec::new();
        for (id, entry) in &self.images {
            let at = entry.created();
            if before.is_some_and(|limit| at >= limit)
                || since.is_some_and(|limit| at <= limit)
                || !is_before(entry, options)
                || !has_labels(entry, options)
            {
                continue;
            }
            if let Some(image) = self.shown(id, options) {
                images.push(image);
            }
        }
        images.sort_by(|a, b| {
            b.created_unix()
                .cmp(&a.created_unix())
                .then_with(|| a.repo_tags.cmp(&b.repo_tags))
                .then_with(|| a.id.cmp(&b.id))
        });
        Ok(images)
    }

    /// The image with those of its names that match, unless the rules for names leave it out.
    fn shown(&self, id: &Digest, options: &ListOptions) -> Option<Image> {
        // Another platform of an image that has a name.
        if self.is_covered(id) {
            return None;
        }
        let mut image = self.view(id)?;
        if !options.references.is_empty() {
            let names: Vec<Reference> = self
                .names_of(id)
                .into_iter()
                .filter(|name| options.references.iter().any(|p| matches(p, name)))
                .collect();
            let familiar = |digest: bool| {
                names
                    .iter()
                    .filter(|name| name.digest().is_some() == digest)
                    .map(Reference::familiar)
                    .collect()
            };
            image.repo_tags = familiar(false);
            image.repo_digests = familiar(true);
        }
        let nameless = image.repo_tags.is_empty() && image.repo_digests.is_empty();
        let keep = if nameless {
            // Only parents of others are hidden, but for `-a`.
            (options.all || !self.has_children(id))
                && options.dangling != Some(false)
                && options.references.is_empty()
        } else {
            options.dangling != Some(true) || image.repo_tags.is_empty()
        };
        keep.then_some(image)
    }

    /// How many images have each layer, for shared sizes.
    pub(crate) fn layer_users(&self) -> HashMap<wharf_oci::ChainId, usize> {
        let mut users = HashMap::new();
        for entry in self.images.values() {
            for chain in &entry.chain {
                *users.entry(*chain).or_default() += 1;
            }
        }
        users
    }
}

fn is_before(entry: &Entry, options: &ListOptions) -> bool {
    let limit = options.until.map(Timestamp::try_from);
    limit.is_none_or(|limit| limit.is_ok_and(|limit| entry.created() < limit))
}

fn has_labels(entry: &Entry, options: &ListOptions) -> bool {
    let labels = &entry.config.config.labels;
    let has = |wanted: &String| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    };
    options.labels.iter().all(has) && !options.without_labels.iter().any(has)
}

/// distribution/reference's `FamiliarMatch`: the pattern fits the whole familiar reference, or its name.
fn matches(pattern: &str, name: &Reference) -> bool {
    glob::matches(pattern, &name.familiar()) || glob::matches(pattern, &name.familiar_name())
}

#[cfg(test)]
mod tests;
