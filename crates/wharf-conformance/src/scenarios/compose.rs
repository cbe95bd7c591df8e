//! The stock Compose plugin, under `docker` and under `wharf`.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use wharf_testkit::fixtures;

use super::containers::until;
use crate::Case;

const APPLICATION: &str = r#"
name: app
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    volumes: ["www:/www:ro"]
    depends_on:
      api: {condition: service_healthy}
      setup: {condition: service_completed_successfully}
    ports: ["127.0.0.1:8080:80"]
    networks: [front, back]
  api:
    image: busybox
    command: ["sh", "-c", "echo api is up; sleep 1; touch /ready; exec sleep 1000"]
    environment: {TOKEN: secret-token}
    healthcheck: {test: ["CMD", "test", "-f", "/ready"], interval: 200ms, retries: 30}
    networks: {back: {aliases: [backend]}}
    labels: {role: api}
  setup:
    image: busybox
    command: ["sh", "-c", "echo hello from compose > /www/index.html"]
    volumes: ["www:/www"]
    networks: [back]
  worker:
    image: busybox
    command: sleep 1000
    deploy: {replicas: 2}
    networks: [back]
    configs: [{source: settings, target: /settings}]
    secrets: [key]
networks:
  front: {}
  back: {internal: true}
volumes:
  www: {}
configs:
  settings: {content: "mode=test"}
secrets:
  key: {file: ./key}
"#;

struct Project {
    folder: TempDir,
    plugins: std::path::PathBuf,
}

impl Project {
    fn new(text: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("compose.yaml"), text)?;
        std::fs::write(folder.path().join("key"), "the-key\n")?;
        Ok(Self {
            folder,
            plugins: fixtures::cli_plugins()?,
        })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, case: &Case, args: &[&str]) -> Result<String> {
        let file = self.path().join("compose.yaml").display().to_string();
        let all = [&["compose", "-f", &file], args].concat();
        let mut command = case.command(&all);
        let output = command.env("DOCKER_CONFIG", &self.plugins).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }
}

pub(crate) fn an_application_comes_up_and_goes(case: &mut Case) -> Result<()> {
    let project = Project::new(APPLICATION)?;
    let compose = |args: &[&str]| project.run(case, args);
    compose(&["up", "-d"])?;
    let services = compose(&["ps", "--services", "--status", "running"])?;
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    services.dedup();
    ensure!(services == ["api", "web", "worker"], "{services:?}");
    // It has started; that it listens nobody has said.
    let fetch = "curl -s http://127.0.0.1:8080/ || true";
    until(|| Ok(case.engine.world.sh(fetch)? == "hello from compose\n"))?;
    let seen = compose(&["exec", "-T", "web", "ping", "-c", "1", "backend"])?;
    ensure!(seen.contains("1 packets received"), "{seen}");
    let token = compose(&["exec", "-T", "api", "sh", "-c", "echo $TOKEN"])?;
    ensure!(token == "secret-token", "{token}");
    let given = compose(&[
        "exec",
        "-T",
        "worker",
        "cat",
        "/settings",
        "/run/secrets/key",
    ])?;
    ensure!(
        given.contains("mode=test") && given.contains("the-key"),
        "{given}"
    );
    let logs = compose(&["logs", "--no-color", "api"])?;
    ensure!(logs.contains("api is up"), "{logs}");
    // Nothing to do is done again.
    let before = compose(&["ps", "-q"])?;
    compose(&["up", "-d"])?;
    ensure!(compose(&["ps", "-q"])? == before, "made anew");
    compose(&["up", "-d", "--scale", "worker=3", "--no-recreate"])?;
    ensure!(
        compose(&["ps", "-q", "worker"])?.lines().count() == 3,
        "scale"
    );
    let top = compose(&["top", "api"])?;
    ensure!(top.contains("sleep 1000"), "{top}");
    ensure!(compose(&["port", "web", "80"])? == "127.0.0.1:8080", "port");
    compose(&["down", "-v", "-t", "0"])?;
    case.prints(&["ps", "-aq"], "")?;
    case.prints(&["volume", "ls", "-q"], "")?;
    let networks = case.ok(&["network", "ls", "--format", "{{.Name}}"])?;
    ensure!(networks.lines().count() == 3, "{networks}");
    Ok(())
}

pub(crate) fn single_commands(case: &mut Case) -> Result<()> {
    let project = Project::new(APPLICATION)?;
    let compose = |args: &[&str]| project.run(case, args);
    compose(&["create"])?;
    let states = compose(&["ps", "-a", "--format", "{{.State}}"])?;
    ensure!(states.lines().all(|state| state == "created"), "{states}");
    compose(&["start"])?;
    let said = compose(&["run", "--rm", "-T", "worker", "echo", "one-off"])?;
    ensure!(said.contains("one-off"), "{said}");
    compose(&["pause", "api"])?;
    compose(&["unpause", "api"])?;
    compose(&["restart", "-t", "0", "worker"])?;
    compose(&["stop", "-t", "0", "api"])?;
    until(|| Ok(!compose(&["ps", "--services"])?.contains("api")))?;
    compose(&["kill", "worker"])?;
    compose(&["rm", "-f", "worker"])?;
    let images = compose(&["images", "--format", "json"])?;
    ensure!(images.contains("busybox"), "{images}");
    let config = compose(&["config", "--services"])?;
    ensure!(config.lines().count() == 4, "{config}");
    let file = project.path().join("copied").display().to_string();
    compose(&["cp", "web:/www/index.html", &file])?;
    let text = std::fs::read_to_string(&file).context("copied")?;
    ensure!(text == "hello from compose\n", "{text}");
    ensure!(compose(&["ls", "-q"])? == "app", "ls");
    compose(&["down", "-v", "-t", "0"]).map(drop)
}
