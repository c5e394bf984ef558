//! Files of one line that are replaced as a whole: after a power cut there is the old line or the new one.

use std::io;
use std::path::Path;

use highwater_env::Disk;

/// Longer lines were not written by [`write`].
const BYTES_MAX: usize = 64;

/// The line, without its end; `None` if there is no such file.
///
/// # Errors
/// What the disk says.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<String>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX).min(BYTES_MAX)];
    file.read_exact_at(0, &mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

/// Replaces the line in `directory/name`: written aside, synced, renamed, and the name synced.
///
/// # Errors
/// What the disk says; the old line is there then, or the new one.
pub(super) fn write(disk: &dyn Disk, directory: &Path, name: &str, line: &str) -> io::Result<()> {
    let aside = directory.join(format!("{name}.tmp"));
    if disk.exists(&aside)? {
        disk.remove_file(&aside)?;
    }
    let file = disk.create(&aside)?;
    file.write_at(0, &[io::IoSlice::new(format!("{line}\n").as_bytes())])?;
    file.sync_data()?;
    disk.rename(&aside, &directory.join(name))?;
    disk.sync_dir(directory)
}

#[cfg(test)]
mod tests {
    use highwater_env::sim::SimDisk;

    use super::*;

    #[test]
    fn a_line_outlives_a_power_cut_and_what_a_crash_left_aside_is_no_hindrance() {
        let (disk, directory) = (SimDisk::new(1), Path::new("/data"));
        disk.create_dir_all(directory).unwrap();
        assert_eq!(read(&*disk, &directory.join("a")).unwrap(), None);
        disk.create(&directory.join("a.tmp")).unwrap();
        for line in ["one", "another"] {
            write(&*disk, directory, "a", line).unwrap();
            disk.crash();
            assert_eq!(read(&*disk, &directory.join("a")).unwrap().as_deref(), Some(line));
        }
    }
}
