//! A broker's disk: a file system of its own in a file, so that it can fill up, lose its power, or be lost.
//!
//! A power cut is the file system's own shutdown without flushing its log: what was not fsynced is gone, every call fails
//! from then on. The image below keeps what reached it, so a write cache that lies is not part of this.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use super::host::run;

/// The kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    Ext4,
    Xfs,
}

/// One disk.
#[derive(Debug)]
pub(super) struct Disk {
    kind: FileSystem,
    image: PathBuf,
    mount: PathBuf,
}

const UNMOUNT_TRIES: u32 = 100;

impl Disk {
    /// Makes an empty one and mounts it.
    pub(super) fn make(scratch: &Path, slot: usize, bytes: u64) -> Result<Disk> {
        let kind = if slot.is_multiple_of(2) { FileSystem::Ext4 } else { FileSystem::Xfs };
        let disk = Disk {
            kind,
            image: scratch.join(format!("disk-{}.img", slot + 1)),
            mount: scratch.join(format!("disk-{}", slot + 1)),
        };
        fs::create_dir_all(&disk.mount)?;
        File::create(&disk.image)?.set_len(bytes)?;
        let image = text(&disk.image);
        match kind {
            FileSystem::Ext4 => {
                run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", image])?
            }
            FileSystem::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", image])?,
        };
        disk.attach()?;
        Ok(disk)
    }

    /// What kind of file system it has, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// Where the broker keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    fn attach(&self) -> Result<()> {
        run("mount", &["-o", "loop,noatime", text(&self.image), text(&self.mount)])?;
        Ok(())
    }

    fn detach(&self) -> Result<()> {
        unmount(&self.mount)
    }

    /// Stops the file system as a power cut would. Seen: a write fails.
    pub(super) fn cut_power(&self) -> Result<()> {
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.mount)])?;
        match self.probe() {
            Err(error) if error.kind() != ErrorKind::StorageFull => Ok(()),
            other => bail!("after its shutdown the file system answers {other:?}"),
        }
    }

    /// The power is back: nobody may hold a file of it any more.
    pub(super) fn restore_power(&self) -> Result<()> {
        self.detach()?;
        self.attach()
    }

    /// Leaves no room. Seen: a write fails for want of room.
    pub(super) fn fill(&self) -> Result<()> {
        let path = self.ballast();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let stat = rustix::fs::fstatvfs(&file)?;
        let mut bytes = stat.f_bavail * stat.f_frsize;
        // Room for its own bookkeeping is not there at the end: ask for less until it fits.
        while bytes > 1 << 20 && run("fallocate", &["-l", &bytes.to_string(), text(&path)]).is_err() {
            bytes -= bytes / 50;
        }
        let block = vec![7_u8; 64 << 10];
        for size in [block.len(), 4096, 512] {
            loop {
                match file.write(&block[..size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling the disk"),
                }
            }
        }
        match self.probe() {
            Err(error) if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) => Ok(()),
            other => bail!("a full disk answers {other:?}"),
        }
    }

    /// Gives the room back. Seen: a write succeeds.
    pub(super) fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast())?;
        self.probe().context("after the disk was freed")
    }

    /// Loses everything: what was on it is gone, and an empty disk is in its place.
    pub(super) fn lose(self, scratch: &Path, slot: usize) -> Result<Disk> {
        let bytes = fs::metadata(&self.image)?.len();
        self.detach()?;
        fs::remove_file(&self.image)?;
        let disk = Disk::make(scratch, slot, bytes)?;
        if disk.data().exists() {
            bail!("a new disk is not empty");
        }
        Ok(disk)
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Writes a few pages and fsyncs them.
    fn probe(&self) -> std::io::Result<()> {
        let path = self.mount.join("probe");
        let mut file = File::create(&path)?;
        file.write_all(&[1; 16 << 10])?;
        file.sync_all()?;
        fs::remove_file(&path)
    }
}

/// Unmounts, however long the last process takes to let go of it.
fn unmount(mount: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match run("umount", &[text(mount)]) {
            Ok(_) => return Ok(()),
            Err(error) if tries == UNMOUNT_TRIES => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        tries += 1;
    }
}

/// Unmounts everything below a run's folder. What cannot be is said.
pub(super) fn unmount_all(scratch: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).map(Path::new);
    let ours = below.filter(|mount| mount.starts_with(scratch));
    ours.filter_map(|mount| unmount(mount).err()).map(|error| format!("{error:#}")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the run's own paths are text")
}
