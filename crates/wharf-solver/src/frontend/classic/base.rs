//! `FROM`, and the images that files are copied from.

use wharf_builder::BuildError;
use wharf_dockerfile::From;
use wharf_images::{Image, ProgressSender, PullOptions};
use wharf_oci::{Digest, Platform, Reference};

use super::{Build, BuildEvent};
use crate::frontend::convert::sources_of;
use crate::frontend::stage::Stage;

/// A stage while it is built.
pub(super) struct Standing {
    /// Its settings.
    pub(super) stage: Stage,
    /// The image of the last step; none at the begin of `FROM scratch`.
    pub(super) image: Option<Digest>,
    /// Whether a step was not in the cache: none after it can be.
    pub(super) busted: bool,
}

impl Standing {
    fn on_image(image: &Image, host: Platform) -> Self {
        let mut stage = Stage::image(None, &image.config, host);
        // The classic builder says who made an image only if its Dockerfile does, and no folder that the image does not.
        stage.author.clear();
        stage
            .config
            .working_dir
            .clone_from(&image.config.config.working_dir);
        Self {
            stage,
            image: Some(image.id),
            busted: false,
        }
    }

    fn on_nothing(host: Platform) -> Self {
        let mut stage = Stage::scratch(host);
        stage.config.working_dir.clear();
        Self {
            stage,
            image: None,
            busted: false,
        }
    }

    /// Arguments that were given, and that it has not asked for.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        self.stage.args.unused().into_iter()
    }

    /// What the history says of a step that runs nothing.
    pub(super) fn nop(&self, text: &str) -> String {
        format!("{} #(nop) {text}", self.stage.shell().join(" "))
    }
}

impl Build<'_> {
    pub(super) async fn begin(&mut self, from: &From) -> Result<Standing, BuildError> {
        self.converter.args.begin_stage();
        let name = self.converter.global(&from.base)?;
        if name.is_empty() {
            let text = format!("base name ({}) should not be blank", from.base);
            return Err(BuildError::Invalid(text));
        }
        let platform = match &from.platform {
            Some(text) => {
                let text = self.converter.global(text)?;
                let parsed = Platform::parse(&text).map_err(|error| {
                    BuildError::Invalid(format!("failed to parse platform {text}: {error}"))
                });
                Some(parsed?)
            }
            None => self.options.platform.clone(),
        };
        let host = platform.clone().unwrap_or_else(Platform::host);
        let mut standing = match self.earlier(&name) {
            Some(None) => Standing::on_nothing(host),
            Some(Some(id)) => {
                let image = self.store().resolve(&id.to_string())?;
                Standing::on_image(&image, host)
            }
            None if name == "scratch" => Standing::on_nothing(host),
            None => {
                let image = self.base_image(&name, platform).await?;
                Standing::on_image(&image, host)
            }
        };
        standing.stage.args = self.converter.args.clone();
        Ok(standing)
    }

    /// What an earlier stage of this name has become.
    pub(super) fn earlier(&self, name: &str) -> Option<Option<Digest>> {
        let lower = name.to_ascii_lowercase();
        let mut stages = self.stages.iter().rev();
        let found = stages.find(|stage| stage.name.as_ref() == Some(&lower));
        found.map(|stage| stage.image)
    }

    /// What a stage of this name or number has become.
    fn stage_named(&self, name: &str) -> Result<Option<Option<Digest>>, BuildError> {
        if let Some(image) = self.earlier(name) {
            return Ok(Some(image));
        }
        let Ok(number) = name.parse::<i64>() else {
            return Ok(None);
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let stage = self.stages.get(number).map(|stage| Some(stage.image));
        stage.ok_or_else(|| {
            BuildError::Invalid(match number == self.stages.len() {
                true => "refers to current build stage".to_owned(),
                false => "index out of bounds".to_owned(),
            })
        })
    }

    /// A graph for one instruction: of the image so far, and the images that it takes files from.
    pub(super) async fn prepare(
        &mut self,
        standing: &mut Standing,
        instruction: &wharf_dockerfile::Instruction,
    ) -> Result<(), BuildError> {
        self.converter.renew();
        for from in sources_of(instruction) {
            let name = self.converter.word(&standing.stage, &from)?;
            let image = self.source(&name).await.map_err(|error| {
                BuildError::Failed(format!("invalid from flag value {name}: {error}"))
            });
            self.converter.give(name, image?);
        }
        standing.stage.output = standing.image.map(|id| self.converter.stored(&id));
        // What is known is known as an image.
        standing.stage.ignore_cache = true;
        Ok(())
    }

    /// The image of what `--from` names; none of a stage that has no files.
    async fn source(&mut self, name: &str) -> Result<Option<Digest>, BuildError> {
        match self.stage_named(name)? {
            Some(image) => Ok(image),
            None if name == "scratch" => Err(BuildError::Invalid(
                "'scratch' is a reserved name".to_owned(),
            )),
            None => Ok(Some(self.base_image(name, None).await?.id)),
        }
    }

    /// An image that is here, or is pulled.
    async fn base_image(
        &mut self,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<Image, BuildError> {
        let store = self.store().clone();
        let is_wanted = |image: &Image| {
            let platform = platform.as_ref();
            platform.is_none_or(|platform| platform.matches(&image.config.platform()))
        };
        if !self.options.pull
            && let Ok((image, pin)) = store.pin(name)
            && is_wanted(&image)
        {
            self.pins.push(pin);
            return Ok(image);
        }
        let reference = Reference::parse_normalized(name)
            .map_err(|error| BuildError::Invalid(error.to_string()))?
            .with_default_tag();
        let options = PullOptions {
            credentials: self.options.credentials.get(reference.domain()).cloned(),
            platform,
            all_tags: false,
            referrers: false,
        };
        let (progress, mut events) = ProgressSender::channel();
        let pull = self.engine().images.pull(&reference, options, progress);
        let report = async {
            while let Some(event) = events.recv().await {
                self.output.send(BuildEvent::Progress(event)).await;
            }
        };
        let (pulled, ()) = tokio::join!(pull, report);
        pulled?;
        let (image, pin) = store.pin(name)?;
        self.pins.push(pin);
        Ok(image)
    }
}
