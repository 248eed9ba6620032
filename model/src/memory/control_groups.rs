//! The memory that the control groups of Linux leave to this process: the limits of a container, a service or a batch job.
//!
//! A process is in one group of each hierarchy (`/proc/self/cgroup`), and every group above it limits it too. Version 2 has one hierarchy.
//! Version 1 has a hierarchy for memory, with other file names.

use std::fs;
use std::path::Path;

/// The names of the same things in one version of control groups.
struct Names {
    /// Folder of the hierarchy below the root of all.
    mount: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Key of the part of `used` that the kernel reclaims first: cached file pages that are not in use.
    cache: &'static str,
}

const SECOND: Names = Names { mount: "", limit: "memory.max", used: "memory.current", cache: "inactive_file" };
const FIRST: Names = Names { mount: "memory", limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", cache: "total_inactive_file" };

/// Returns the bytes that this process may still take within its groups; `None` if no group has a limit.
pub fn left() -> Option<f64> {
    left_of(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"))
}

/// Returns the bytes left within the groups that `membership` lists. Each line is `NUMBER:CONTROLLERS:PATH`, without controllers in version
/// 2.
fn left_of(membership: &str, root: &Path) -> Option<f64> {
    let of_line = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let names = match controllers {
            "" => SECOND,
            _ if controllers.split(',').any(|controller| controller == "memory") => FIRST,
            _ => return None,
        };
        let mount = root.join(names.mount);
        let group = mount.join(group.trim_start_matches('/'));
        // In a container the path may be the host's and missing here. The mount itself is then the container's group.
        group.ancestors().take_while(|folder| folder.starts_with(&mount)).filter_map(|group| left_in(group, &names)).reduce(f64::min)
    };
    membership.lines().filter_map(of_line).reduce(f64::min)
}

fn left_in(group: &Path, names: &Names) -> Option<f64> {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<f64>().ok();
    // Without a limit the file says "max".
    let limit = number(names.limit)?;
    let cache = text("memory.stat").and_then(|stat| {
        let line = |line: &str| line.strip_prefix(names.cache)?.strip_prefix(' ')?.trim().parse::<f64>().ok();
        stat.lines().find_map(line)
    });
    Some((limit - (number(names.used).unwrap_or(0.0) - cache.unwrap_or(0.0)).max(0.0)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(root.join(path)).unwrap();
        files.iter().for_each(|(name, text)| fs::write(root.join(path).join(name), text).unwrap());
    }

    #[test]
    fn the_narrowest_group_above_the_process_counts_less_what_it_uses_and_the_kernel_does_not_give_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        group(root, "jobs", &[("memory.max", "4000\n"), ("memory.current", "1500\n"), ("memory.stat", "anon 100\ninactive_file 500\n")]);
        group(root, "jobs/mine", &[("memory.max", "max\n"), ("memory.current", "10\n")]);
        assert_eq!(left_of("0::/jobs/mine\n", root), Some(3000.0));
        group(root, "jobs/mine", &[("memory.max", "500\n")]);
        assert_eq!(left_of("0::/jobs/mine\n", root), Some(490.0));
        group(root, "jobs/mine", &[("memory.current", "700\n")]);
        assert_eq!(left_of("0::/jobs/mine\n", root), Some(0.0));
        assert_eq!(left_of("0::/elsewhere\n", root), None);
        assert_eq!(left_of("", root), None);
    }

    #[test]
    fn the_first_version_has_a_hierarchy_for_memory_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let files = [("memory.limit_in_bytes", "900\n"), ("memory.usage_in_bytes", "300\n"), ("memory.stat", "total_inactive_file 100\n")];
        group(root, "memory/slice", &files);
        let membership = "5:cpu,cpuacct:/slice\n4:memory:/slice/job\n0::/\n";
        assert_eq!(left_of(membership, root), Some(700.0));
        assert_eq!(left_of("4:devices,memory:/a/path/of/the/host\n", root), None);
        group(root, "memory", &files);
        assert_eq!(left_of("4:devices,memory:/a/path/of/the/host\n", root), Some(700.0));
    }
}
