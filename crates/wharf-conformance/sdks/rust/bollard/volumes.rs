//! Volumes.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    ListVolumesOptionsBuilder, PruneVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};

use crate::told::{Told, all, done, filters, some, step};

pub(crate) async fn tell(docker: &Docker) {
    let create = async |name: &str, driver: &str| -> Told {
        let wanted = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some(driver.to_owned()),
            labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
            ..Default::default()
        };
        Ok(some(
            docker.create_volume(wanted).await?,
            &["Name", "Driver", "Labels", "Options", "Scope"],
        ))
    };
    step("create a volume", create("vol", "local")).await;
    step("create it again", create("vol", "local")).await;
    step("create one without sense", create("no/such", "local")).await;
    step("create one of another driver", create("no", "nope")).await;
    step("inspect a volume", async {
        Ok(some(
            docker.inspect_volume("vol").await?,
            &["Name", "Driver", "Labels", "Scope"],
        ))
    })
    .await;
    step("inspect of a volume that there is not", async {
        Ok(all(docker.inspect_volume("nope").await?))
    })
    .await;
    let listed = async |only: &[(&str, &str)]| -> Told {
        let options = ListVolumesOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        let found = docker.list_volumes(Some(options)).await?;
        let names: Vec<_> = found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|one| one.name)
            .collect();
        Ok(all((names, found.warnings)))
    };
    step("volumes by name", listed(&[("name", "vol")])).await;
    step("volumes of none", listed(&[("label", "a=c")])).await;
    step(
        "volumes with a filter that there is not",
        listed(&[("nope", "x")]),
    )
    .await;
    let remove = async |force: bool| {
        done(
            docker
                .remove_volume(
                    "vol",
                    Some(RemoveVolumeOptionsBuilder::default().force(force).build()),
                )
                .await,
        )
    };
    step("remove a volume", remove(false)).await;
    step("remove it again", remove(false)).await;
    step("remove it by force", remove(true)).await;
    let prune = async |only: &[(&str, &str)]| -> Told {
        let options = PruneVolumesOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        Ok(some(
            docker.prune_volumes(Some(options)).await?,
            &["VolumesDeleted"],
        ))
    };
    step("prune of volumes", prune(&[("all", "true")])).await;
    step(
        "prune of volumes with a filter that there is not",
        prune(&[("nope", "x")]),
    )
    .await;
}
