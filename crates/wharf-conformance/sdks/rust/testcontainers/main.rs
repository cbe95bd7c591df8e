//! testcontainers-rs against a daemon: containers that are waited for, spoken to and gone afterwards.
//!
//!     DOCKER_HOST=unix://… testcontainers
//!
//! It is to run where the daemon's ports are. Two daemons print the same.

use std::error::Error;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions};
use testcontainers::core::{
    BuildImageOptions, CmdWaitFor, ExecCommand, IntoContainerPort as _, Mount, WaitFor,
};
use testcontainers::runners::{AsyncBuilder as _, AsyncRunner as _};
use testcontainers::{
    ContainerAsync, ContainerRequest, CopyDataSource, CopyTargetOptions, GenericBuildableImage,
    GenericImage, ImageExt as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Done = Result<(), Box<dyn Error>>;

const SERVER: &str = "echo starting; mkdir /www; echo hello from $NAME > /www/index.html; echo ready; exec httpd -f -p 80 -h /www";

#[tokio::main]
async fn main() -> Done {
    waits().await?;
    inside().await?;
    files().await?;
    networks().await?;
    images().await?;
    let docker = Docker::connect_with_defaults()?;
    let all = ListContainersOptionsBuilder::default().all(true).build();
    println!("left {}", docker.list_containers(Some(all)).await?.len());
    println!(
        "left {}",
        docker
            .list_networks(None::<ListNetworksOptions>)
            .await?
            .len()
    );
    Ok(())
}

fn server(ready: WaitFor) -> ContainerRequest<GenericImage> {
    GenericImage::new("busybox", "latest")
        .with_exposed_port(80.tcp())
        .with_wait_for(ready)
        .with_env_var("NAME", "a test")
        .with_cmd(["sh", "-c", SERVER])
}

async fn served(container: &ContainerAsync<GenericImage>) -> Result<String, Box<dyn Error>> {
    let host = container.get_host().await?.to_string();
    let port = container.get_host_port_ipv4(80).await?;
    let mut stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

async fn waits() -> Done {
    for (name, ready) in [
        ("said", WaitFor::message_on_stdout("ready")),
        ("either", WaitFor::message_on_either_std("ready")),
    ] {
        let container = server(ready).start().await?;
        // What it says is said before it listens.
        let mut page = served(&container).await;
        for _ in 0..100 {
            if page.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            page = served(&container).await;
        }
        println!("{name}: {}", page?);
    }
    let ended = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::exit(Default::default()))
        .with_cmd(["true"]);
    println!("ended: {:?}", ended.start().await?.exit_code().await?);
    let never =
        server(WaitFor::message_on_stdout("never")).with_startup_timeout(Duration::from_secs(2));
    println!("never: {}", never.start().await.is_err());
    let healthy = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::healthcheck())
        .with_cmd(["sleep", "1000"])
        .with_health_check(
            testcontainers::core::Healthcheck::cmd_shell("true")
                .with_interval(Duration::from_millis(200)),
        );
    println!("healthy: {}", healthy.start().await?.is_running().await?);
    Ok(())
}

async fn inside() -> Done {
    let container = server(WaitFor::message_on_stdout("ready"))
        .with_container_name("tested")
        .with_hostname("inside")
        .with_mount(Mount::tmpfs_mount("/small"))
        .with_label("of", "a test")
        .with_working_dir("/tmp")
        .start()
        .await?;
    let mut said = container
        .exec(ExecCommand::new([
            "sh",
            "-c",
            "hostname; pwd; echo $NAME; exit 3",
        ]))
        .await?;
    println!(
        "exec: {:?}",
        String::from_utf8(said.stdout_to_vec().await?)?
    );
    println!("exec: {:?}", said.exit_code().await?);
    let waited = ExecCommand::new(["sh", "-c", "echo one; sleep 0.1; echo two"])
        .with_cmd_ready_condition(CmdWaitFor::message_on_stdout("two"));
    println!(
        "exec: {:?}",
        String::from_utf8(container.exec(waited).await?.stdout_to_vec().await?)?
    );
    println!(
        "logs: {:?}",
        String::from_utf8(container.stdout_to_vec().await?)?
    );
    container.pause().await?;
    container.unpause().await?;
    container.stop_with_timeout(Some(0)).await?;
    println!("stopped: {:?}", container.exit_code().await?);
    container.start().await?;
    println!("running: {}", container.is_running().await?);
    container.rm().await?;
    Ok(())
}

async fn files() -> Done {
    let container = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::message_on_stdout("a text"))
        .with_copy_to(
            CopyTargetOptions::new("/deep/file").with_mode(0o640),
            CopyDataSource::Data(b"a text\n".to_vec()),
        )
        .with_cmd([
            "sh",
            "-c",
            "ls -l /deep/file | cut -c 1-10; cat /deep/file; sleep 1000",
        ])
        .start()
        .await?;
    println!(
        "copied: {:?}",
        String::from_utf8(container.stdout_to_vec().await?)?
    );
    let mut back = Vec::new();
    container.copy_file_from("/deep/file", &mut back).await?;
    println!("copied: {:?}", String::from_utf8(back)?);
    Ok(())
}

async fn networks() -> Done {
    let web = server(WaitFor::message_on_stdout("ready"))
        .with_network("own")
        .with_container_name("web")
        .start()
        .await?;
    let asks = GenericImage::new("busybox", "latest")
        .with_cmd(["sleep", "1000"])
        .with_network("own")
        .start()
        .await?;
    let ask = "until wget -q -O - http://web/; do usleep 20000; done 2> /dev/null";
    let mut said = asks.exec(ExecCommand::new(["sh", "-c", ask])).await?;
    println!(
        "network: {:?}",
        String::from_utf8(said.stdout_to_vec().await?)?
    );
    println!("network: {}", web.get_bridge_ip_address().await.is_ok());
    Ok(())
}

async fn images() -> Done {
    let image = GenericBuildableImage::new("tested", "1")
        .with_dockerfile_string("FROM busybox\nARG A\nCOPY file /file\nRUN echo $A >> /file\nCMD cat /file; sleep 1000\n")
        .with_data("text\n", "file")
        .build_image_with(BuildImageOptions::new().with_build_arg("A", "built").with_no_cache(true))
        .await?;
    let container = image
        .with_wait_for(WaitFor::message_on_stdout("built"))
        .start()
        .await?;
    println!(
        "built: {:?}",
        String::from_utf8(container.stdout_to_vec().await?)?
    );
    Ok(())
}
