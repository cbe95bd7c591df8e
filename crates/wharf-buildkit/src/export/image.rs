//! `moby` and `image`: names for the image, and a push.

use wharf_images::{ProgressSender, PushOptions};
use wharf_oci::Reference;

use super::{Export, Response, is_on};
use crate::error::Error;
use crate::session::Asked;
use crate::time::now;

impl Export<'_> {
    /// The names that are asked for.
    ///
    /// # Errors
    /// If one is none.
    pub(super) fn names(&self) -> Result<Vec<Reference>, Error> {
        let names = self.attributes.get("name").map(String::as_str);
        let names = names
            .unwrap_or_default()
            .split(',')
            .filter(|one| !one.is_empty());
        let parse = |name: &str| {
            let reference = Reference::parse_normalized(name);
            let reference = reference
                .map_err(|error| Error::Invalid(format!("failed to parse {name}: {error}")))?;
            Ok(reference)
        };
        names.map(parse).collect()
    }

    /// What is said of an image.
    pub(super) fn said(&self, names: &[Reference]) -> Response {
        let image = &self.built.image;
        let id = image.id.to_string();
        let mut said = Response::from([
            ("containerimage.config.digest".to_owned(), id.clone()),
            ("containerimage.digest".to_owned(), id),
        ]);
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(Reference::to_string).collect();
            said.insert("image.name".to_owned(), names.join(","));
        }
        said
    }

    /// Into the store. The daemon's own exporter leaves a push to the client.
    pub(super) async fn image(&self, pushes: bool) -> Result<Response, Error> {
        let step = self.job.trace.begin("exporting to image");
        let exported = self.named(&step, pushes).await;
        step.end(exported)
    }

    async fn named(&self, step: &crate::progress::Step, pushes: bool) -> Result<Response, Error> {
        let names = self.names()?;
        let id = self.built.image.id.to_string();
        step.done_with("exporting layers", now());
        step.done_with(&format!("writing image {id}"), now());
        for name in &names {
            let started = now();
            let tagged = name.clone().with_default_tag();
            self.kit.engine.images.tag(&id, &tagged)?;
            step.done_with(&format!("naming to {name}"), started);
        }
        let asked = |key: &str| self.attributes.get(key).is_some_and(|value| is_on(value));
        if pushes && asked("push") {
            if names.is_empty() {
                return Err(Error::Invalid(
                    "tag is needed when pushing to registry".to_owned(),
                ));
            }
            for name in &names {
                self.push(step, name).await?;
            }
        }
        Ok(self.said(&names))
    }

    async fn push(&self, step: &crate::progress::Step, name: &Reference) -> Result<(), Error> {
        let started = now();
        let client = Asked::new(self.kit, self.kit.sessions.get(&self.job.session).await?);
        let credentials = wharf_builder::Client::credentials(&client, name.domain()).await;
        let options = PushOptions {
            platform: None,
            credentials,
        };
        let images = &self.kit.engine.images;
        let tagged = name.clone().with_default_tag();
        let pushed = images
            .push(&tagged, options, ProgressSender::discard())
            .await;
        pushed?;
        step.done_with(&format!("pushing {name}"), started);
        Ok(())
    }
}
