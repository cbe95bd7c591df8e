//! Builds: by the classic request, and by BuildKit's protocol over the daemon's own connection.

use std::collections::HashMap;

use bollard::Docker;
use bollard::body_full;
use bollard::errors::Error;
use bollard::grpc::build::{ImageBuildFrontendOptions, ImageBuildLoadInput, SecretSource};
use bollard::grpc::driver::Build as _;
use bollard::grpc::driver::moby::Moby;
use bollard::grpc::error::GrpcError;
use bollard::query_parameters::{
    BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion, RemoveImageOptions,
};
use serde_json::json;

use crate::told::{Told, all, archive, build_said, some, step};

const DOCKERFILE: &str = "FROM busybox AS first\nARG A=x\nCOPY f /f\nRUN echo $A $(cat /f) > /said\nFROM first\nCMD cat /said\n";

async fn built(docker: &Docker, options: BuildImageOptions, dockerfile: &str) -> Told {
    let context = body_full(archive(&[("Dockerfile", dockerfile), ("f", "text\n")]).into());
    let (text, error, _) = build_said(docker.build_image(options, None, Some(context))).await?;
    Ok(json!([text, error]))
}

fn told(error: GrpcError) -> Error {
    Error::DockerStreamError {
        error: error.to_string(),
    }
}

pub(crate) async fn tell(docker: &Docker) {
    let a = HashMap::from([("A", "arg")]);
    let labels = HashMap::from([("l", "m")]);
    let plain = BuildImageOptionsBuilder::default()
        .t("built:1")
        .rm(true)
        .buildargs(&a)
        .labels(&labels)
        .build();
    step("build", built(docker, plain, DOCKERFILE)).await;
    step("what was built", async {
        let config = docker.inspect_image("built:1").await?.config;
        Ok(some(config, &["Cmd", "Labels"]))
    })
    .await;
    let stage = BuildImageOptionsBuilder::default()
        .target("first")
        .q(true)
        .rm(true)
        .build();
    step("build of a stage", built(docker, stage, DOCKERFILE)).await;
    let fails = || {
        BuildImageOptionsBuilder::default()
            .rm(true)
            .forcerm(true)
            .build()
    };
    step(
        "build that fails",
        built(docker, fails(), "FROM busybox\nRUN exit 4\n"),
    )
    .await;
    step("build without sense", built(docker, fails(), "NOPE\n")).await;
    step("build by BuildKit", async {
        let options = BuildImageOptionsBuilder::default()
            .t("built:2")
            .version(BuilderVersion::BuilderBuildKit)
            .session("told")
            .build();
        let context = body_full(archive(&[("Dockerfile", DOCKERFILE), ("f", "text\n")]).into());
        let (_, error, said) = build_said(docker.build_image(options, None, Some(context))).await?;
        let traced = said
            .iter()
            .any(|one| one.id.as_deref() == Some("moby.buildkit.trace"));
        let config = docker.inspect_image("built:2").await?.config;
        Ok(json!([error, traced, some(config, &["Cmd"])]))
    })
    .await;
    step("build by BuildKit's own protocol", async {
        let options = ImageBuildFrontendOptions::builder()
            .buildarg("A", "own")
            .label("o", "p")
            .set_secret("key", &SecretSource::File("testcontainers/Dockerfile".into()))
            .build();
        let text = "FROM busybox\nARG A\nCOPY f /f\nRUN --mount=type=secret,id=key,required=true echo $A $(head -c 4 /run/secrets/key) > /said\nCMD cat /said\n";
        let context = ImageBuildLoadInput::Upload(archive(&[("Dockerfile", text), ("f", "text\n")]).into());
        Moby::new(docker).docker_build("built:3", options, context, None, None).await.map_err(told)?;
        Ok(some(docker.inspect_image("built:3").await?.config, &["Cmd", "Labels"]))
    })
    .await;
    step("build by BuildKit's own protocol that fails", async {
        let context = ImageBuildLoadInput::Upload(
            archive(&[("Dockerfile", "FROM busybox\nRUN exit 5\n")]).into(),
        );
        let options = ImageBuildFrontendOptions::builder().build();
        Ok(all(Moby::new(docker)
            .docker_build("built:4", options, context, None, None)
            .await
            .is_err()))
    })
    .await;
    step("what is left of builds", async {
        for name in ["built:1", "built:2", "built:3"] {
            docker
                .remove_image(name, None::<RemoveImageOptions>, None)
                .await?;
        }
        Ok(docker.inspect_image("built:4").await.is_err().into())
    })
    .await;
}
