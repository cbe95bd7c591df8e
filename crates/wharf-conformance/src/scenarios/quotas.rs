//! Volumes that are held to a size.

use anyhow::{Result, ensure};

use crate::Case;

/// Lays a file system with project quotas over the data root. The kernel of the test machine has none, that of the emulated
/// one has.
fn with_quotas(case: &mut Case) -> Result<bool> {
    let folder = case.engine.world.path().to_string_lossy().into_owned();
    case.engine.stop()?;
    let made = case.engine.world.sh(&format!(
        "cd {folder} && truncate -s 200M disk && PATH=$PATH:/sbin:/usr/sbin \
         && mkfs.ext4 -q -I 256 -O quota,project -E quotatype=prjquota disk && mount -o loop,prjquota disk data"
    ));
    case.engine.launch()?;
    match made {
        Ok(_) => Ok(true),
        Err(error) if std::env::var_os("WHARF_TEST_OWN_MACHINE").is_some() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Writes so many megabytes into a volume, and says whether they fitted.
fn fits(case: &Case, volume: &str, megabytes: u32) -> Result<bool> {
    let line = format!("dd if=/dev/zero of=/v/file bs=1M count={megabytes} && sync");
    let volume = format!("{volume}:/v");
    let done = case.run(&["run", "--rm", "-v", &volume, "busybox", "sh", "-c", &line])?;
    let full = ["No space left", "quota exceeded"];
    ensure!(
        done.code == 0 || full.iter().any(|words| done.stderr.contains(words)),
        "{}",
        done.stderr
    );
    Ok(done.code == 0)
}

pub(crate) fn volumes_keep_to_their_size(case: &mut Case) -> Result<()> {
    let sized = |size: &'static str, name: &'static str| ["volume", "create", "-o", size, name];
    case.fails(
        &sized("size=2m", "v1"),
        1,
        "quota size requested but no quota support",
    )?;
    case.fails(&sized("size=odd", "v1"), 1, "invalid size: 'odd'")?;
    case.ok(&sized("size=0", "v0"))?;
    if case.engine.kind.is_dockerd() || !with_quotas(case)? {
        return Ok(()); // Of a dockerd's volumes only those on XFS are.
    }
    case.load_busybox()?;
    case.ok(&sized("size=4m", "v1"))?;
    case.ok(&sized("size=8m", "v2"))?;
    case.ok(&["volume", "create", "free"])?;
    ensure!(fits(case, "v1", 2)? && !fits(case, "v1", 6)?);
    ensure!(fits(case, "v2", 6)? && fits(case, "free", 20)?);
    let line = "df -m /v | tail -1 | awk '{print $2}'";
    case.prints(
        &["run", "--rm", "-v", "v2:/v", "busybox", "sh", "-c", line],
        "8",
    )?;
    // The file system knows, whatever becomes of the daemon; what is removed makes room for the next.
    case.engine.kill_9()?;
    case.engine.launch()?;
    ensure!(!fits(case, "v1", 6)?);
    case.ok(&["volume", "rm", "v1"])?;
    case.ok(&sized("size=10m", "v1"))?;
    ensure!(fits(case, "v1", 8)? && !fits(case, "v2", 10)?);
    Ok(())
}
