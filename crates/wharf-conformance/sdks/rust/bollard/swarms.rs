//! What is only in a swarm, which this is none: how it is refused. And plugins, of which there are none.

use bollard::Docker;
use bollard::query_parameters::{
    DisablePluginOptionsBuilder, EnablePluginOptionsBuilder, InspectServiceOptions,
    ListConfigsOptions, ListNodesOptions, ListPluginsOptionsBuilder, ListSecretsOptions,
    ListServicesOptions, ListTasksOptions, RemovePluginOptions, UpdateNodeOptionsBuilder,
};

use crate::told::{all, done, filters, step};

pub(crate) async fn tell(docker: &Docker) {
    step("swarm", async { Ok(all(docker.inspect_swarm().await?)) }).await;
    step("leave", async { done(docker.leave_swarm(None).await) }).await;
    step("nodes", async {
        Ok(all(docker.list_nodes(None::<ListNodesOptions>).await?))
    })
    .await;
    step("a node", async {
        Ok(all(docker.inspect_node("nope").await?))
    })
    .await;
    step("a node's removal", async {
        done(docker.delete_node("nope", None).await)
    })
    .await;
    let version = UpdateNodeOptionsBuilder::default().version(1).build();
    step("a node's change", async {
        done(
            docker
                .update_node("nope", Default::default(), version)
                .await,
        )
    })
    .await;
    step("services", async {
        Ok(all(docker
            .list_services(None::<ListServicesOptions>)
            .await?))
    })
    .await;
    step("a service", async {
        Ok(all(docker
            .inspect_service("nope", None::<InspectServiceOptions>)
            .await?))
    })
    .await;
    step("a new service", async {
        Ok(all(docker.create_service(Default::default(), None).await?))
    })
    .await;
    step("a service's removal", async {
        done(docker.delete_service("nope").await)
    })
    .await;
    step("tasks", async {
        Ok(all(docker.list_tasks(None::<ListTasksOptions>).await?))
    })
    .await;
    step("a task", async {
        Ok(all(docker.inspect_task("nope").await?))
    })
    .await;
    step("secrets", async {
        Ok(all(docker.list_secrets(None::<ListSecretsOptions>).await?))
    })
    .await;
    step("a secret", async {
        Ok(all(docker.inspect_secret("nope").await?))
    })
    .await;
    step("a new secret", async {
        Ok(all(docker.create_secret(Default::default()).await?))
    })
    .await;
    step("a secret's removal", async {
        done(docker.delete_secret("nope").await)
    })
    .await;
    step("configs", async {
        Ok(all(docker.list_configs(None::<ListConfigsOptions>).await?))
    })
    .await;
    step("a config", async {
        Ok(all(docker.inspect_config("nope").await?))
    })
    .await;
    step("a new config", async {
        Ok(all(docker.create_config(Default::default()).await?))
    })
    .await;
    step("a config's removal", async {
        done(docker.delete_config("nope").await)
    })
    .await;
    let only = ListPluginsOptionsBuilder::default()
        .filters(&filters(&[("capability", "volumedriver")]))
        .build();
    step("plugins", async {
        Ok(all(docker.list_plugins(Some(only)).await?))
    })
    .await;
    step("a plugin", async {
        Ok(all(docker.inspect_plugin("nope").await?))
    })
    .await;
    step("a plugin's start", async {
        done(
            docker
                .enable_plugin(
                    "nope",
                    Some(EnablePluginOptionsBuilder::default().timeout(1).build()),
                )
                .await,
        )
    })
    .await;
    step("a plugin's stop", async {
        done(
            docker
                .disable_plugin("nope", Some(DisablePluginOptionsBuilder::default().build()))
                .await,
        )
    })
    .await;
    step("a plugin's removal", async {
        Ok(all(docker
            .remove_plugin("nope", None::<RemovePluginOptions>)
            .await?))
    })
    .await;
}
