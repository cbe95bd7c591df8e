//! Images and registries.

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::body_full;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptions, CreateImageOptionsBuilder, ImportImageOptionsBuilder,
    ListImagesOptionsBuilder, PruneImagesOptionsBuilder, PushImageOptionsBuilder,
    RemoveImageOptionsBuilder, SearchImagesOptionsBuilder, TagImageOptionsBuilder,
};
use serde_json::json;

use crate::told::{
    Told, all, archive, build_said, bytes, done, filters, messages, names, some, step,
};

pub(crate) async fn tell(docker: &Docker, registry: &str) {
    lists(docker).await;
    registries(docker, registry).await;
    archives(docker).await;
    removals(docker).await;
}

async fn lists(docker: &Docker) {
    let tags = async |only: &[(&str, &str)]| -> Told {
        let only = ListImagesOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        let rows = docker.list_images(Some(only)).await?;
        Ok(rows.into_iter().map(|row| all(row.repo_tags)).collect())
    };
    step("images", tags(&[])).await;
    step("images by reference", tags(&[("reference", "busy*")])).await;
    step("images of none", tags(&[("reference", "nope")])).await;
    step(
        "images with a filter that there is not",
        tags(&[("nope", "x")]),
    )
    .await;
    step("images, whole", async {
        let whole = ListImagesOptionsBuilder::default()
            .all(true)
            .digests(true)
            .shared_size(true)
            .build();
        let rows = docker.list_images(Some(whole)).await?;
        Ok(rows
            .into_iter()
            .map(|row| some(row, &["Id", "ParentId", "RepoTags", "Labels"]))
            .collect())
    })
    .await;
    step("image", async {
        let one = docker.inspect_image("busybox").await?;
        let known = some(&one, &["Id", "RepoTags", "Os", "Architecture", "RootFS"]);
        Ok(json!([
            known,
            one.config.map(|config| config.cmd),
            one.created.is_some()
        ]))
    })
    .await;
    step("image that is not there", async {
        Ok(all(docker.inspect_image("nope").await?))
    })
    .await;
    step("history", async {
        let rows = docker.image_history("busybox").await?;
        Ok(rows
            .into_iter()
            .map(|row| some(row, &["Id", "Comment", "Tags"]))
            .collect())
    })
    .await;
    step("search where nothing is", async {
        let term = SearchImagesOptionsBuilder::default()
            .term("127.0.0.1:1/x")
            .limit(1)
            .build();
        Ok(docker.search_images(term).await.is_err().into())
    })
    .await;
}

async fn pulled(
    docker: &Docker,
    options: CreateImageOptions,
    credentials: Option<DockerCredentials>,
) -> Told {
    let said = messages(docker.create_image(Some(options), None, credentials)).await?;
    Ok(said.last().map(|last| last["status"].clone()).into())
}

async fn registries(docker: &Docker, registry: &str) {
    let name = format!("{registry}/busybox");
    let of = |name: &str, tag: &str| {
        CreateImageOptionsBuilder::default()
            .from_image(name)
            .tag(tag)
            .build()
    };
    let key = || {
        Some(DockerCredentials {
            username: Some("u".to_owned()),
            password: Some("p".to_owned()),
            ..Default::default()
        })
    };
    step("pull", pulled(docker, of(&name, "latest"), None)).await;
    step(
        "pull with a key",
        pulled(docker, of(&name, "latest"), key()),
    )
    .await;
    step(
        "pull of what is not there",
        pulled(docker, of(&format!("{registry}/nope"), "x"), None),
    )
    .await;
    step("pull without sense", pulled(docker, of("No!", "x"), None)).await;
    step("what a registry has", async {
        Ok(some(
            docker.inspect_registry_image(&name, None).await?,
            &["Descriptor", "Platforms"],
        ))
    })
    .await;
    step("what a registry has not", async {
        let nope = format!("{registry}/nope");
        Ok(all(docker.inspect_registry_image(&nope, key()).await?))
    })
    .await;
    step("tag", async {
        done(
            docker
                .tag_image(
                    "busybox",
                    Some(
                        TagImageOptionsBuilder::default()
                            .repo(&name)
                            .tag("2")
                            .build(),
                    ),
                )
                .await,
        )
    })
    .await;
    step("tag without sense", async {
        done(
            docker
                .tag_image(
                    "busybox",
                    Some(TagImageOptionsBuilder::default().repo("A:B:C").build()),
                )
                .await,
        )
    })
    .await;
    let pushed = async |name: &str, tag: &str| -> Told {
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let said = messages(docker.push_image(name, Some(options), None)).await?;
        Ok(said
            .iter()
            .filter(|one| one["id"].is_null())
            .map(|one| some(one, &["status"]))
            .collect())
    };
    step("push", pushed(&name, "2")).await;
    step(
        "push of what is not there",
        pushed(&format!("{registry}/nope"), "x"),
    )
    .await;
}

async fn archives(docker: &Docker) {
    let load = async |archive: Vec<u8>, quiet: bool| -> Told {
        let options = ImportImageOptionsBuilder::default().quiet(quiet).build();
        let (text, error, _) =
            build_said(docker.import_image(options, body_full(archive.into()), None)).await?;
        Ok(json!([text, error]))
    };
    let saved = async |name: &str| bytes(docker.export_image(name)).await;
    step("save", async {
        let names = names(&saved("busybox").await?);
        Ok(json!([
            names.iter().any(|name| name == "manifest.json"),
            names.iter().any(|name| name == "oci-layout")
        ]))
    })
    .await;
    step("save of what is not there", async {
        Ok(saved("nope").await?.len().into())
    })
    .await;
    step("save of several", async {
        Ok((bytes(docker.export_images(&["busybox", "busybox:latest"]))
            .await?
            .len()
            > 1_000_000)
            .into())
    })
    .await;
    step("load", async { load(saved("busybox").await?, true).await }).await;
    step("load of a stream", async {
        let archive = saved("busybox").await?;
        let chunks: Vec<Result<_, Error>> = archive
            .chunks(100_000)
            .map(|one| Ok(one.to_vec().into()))
            .collect();
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let said = docker.import_image_stream(options, futures_util::stream::iter(chunks), None);
        let (text, error, _) = build_said(said).await?;
        Ok(json!([text, error]))
    })
    .await;
    step("load of nonsense", async {
        Ok(load(b"nonsense".to_vec(), true).await.is_err().into())
    })
    .await;
    step("import", async {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("imported")
            .tag("1")
            .message("m")
            .changes(vec!["ENV A=b".to_owned()])
            .build();
        let tree = body_full(archive(&[("file", "text")]).into());
        let said = messages(docker.create_image(Some(options), Some(tree), None)).await?;
        let one = docker.inspect_image("imported:1").await?;
        Ok(json!([
            said.last().map(|last| last["status"].clone()),
            one.comment,
            one.config.map(|config| config.env)
        ]))
    })
    .await;
}

async fn removals(docker: &Docker) {
    let remove = async |name: &str| -> Told {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        Ok(all(docker.remove_image(name, Some(options), None).await?))
    };
    step("remove", remove("imported:1")).await;
    step("remove one that is not there", remove("nope")).await;
    let prune = async |only: &[(&str, &str)]| -> Told {
        let only = PruneImagesOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        Ok(all(docker.prune_images(Some(only)).await?))
    };
    step("prune", prune(&[("dangling", "true")])).await;
    step(
        "prune with a filter that there is not",
        prune(&[("nope", "x")]),
    )
    .await;
}
