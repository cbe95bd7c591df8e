//! `wharf tag`.

use wharf_client::Url;
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};

/// Give an image a name
pub static COMMAND: Command = Command {
    name: "tag",
    about: "Give an image another name",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    also: "wharf image tag, wharf tag",
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let target = &matches.args[1];
    let reference = Reference::parse_normalized(target).map_err(|error| {
        Exit::new(format!(
            "Error parsing reference: {target:?} is not a valid repository/tag: {error}"
        ))
    })?;
    if reference.digest().is_some() {
        return Err(Exit::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    let reference = reference.with_default_tag();
    let client = context.client().await?;
    let url = Url::new(["images", &matches.args[0], "tag"])
        .with("repo", reference.short_name())
        .maybe("tag", reference.tag());
    Ok(client.post(url).await?)
}
