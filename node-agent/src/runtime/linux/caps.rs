//! Which capabilities a container keeps inside its user namespace.

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::plan::Profile;
use super::wire::{Context, Failure};

/// `app`: Docker's fourteen without `MKNOD`, `NET_RAW`, `AUDIT_WRITE` and `SETFCAP`.
const APP: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL);

/// What even a `system` container has no use for: these act on the whole machine, or guard it.
const DANGEROUS: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::WAKE_ALARM)
    .union(CapabilitySet::BLOCK_SUSPEND)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::BPF);

/// The capabilities a profile keeps.
#[must_use]
pub fn kept(profile: Profile) -> CapabilitySet {
    match profile {
        Profile::App => APP,
        Profile::System => CapabilitySet::all().difference(DANGEROUS),
    }
}

/// Takes away everything else, from this process and for good: the bounding set decides what an execution by root can
/// have, so nothing comes back through a setuid program.
///
/// # Errors
/// The step that failed.
pub fn restrict(profile: Profile) -> Result<(), Failure> {
    let kept = kept(profile);
    for capability in CapabilitySet::all().difference(kept).iter() {
        // A capability that this kernel does not know cannot be had either.
        if rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            rustix::thread::remove_capability_from_bounding_set(capability)
                .step(|| format!("drop {capability:?} from the bounding set"))?;
        }
    }
    rustix::thread::clear_ambient_capability_set().step(|| "clear the ambient capabilities")?;
    let have = rustix::thread::capabilities(None).step(|| "read the capabilities")?;
    let sets = CapabilitySets {
        effective: have.effective.intersection(kept),
        permitted: have.permitted.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).step(|| "set the capabilities")
}

/// Does something without a capability that this process has, which it has again afterwards.
///
/// # Errors
/// The step that failed, or what `work` says.
pub fn without<T>(capability: CapabilitySet, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let have = rustix::thread::capabilities(None).step(|| "read the capabilities")?;
    let fewer = CapabilitySets { effective: have.effective.difference(capability), ..have };
    rustix::thread::set_capabilities(None, fewer).step(|| format!("go without {capability:?}"))?;
    let done = work();
    rustix::thread::set_capabilities(None, have).step(|| format!("take {capability:?} again"))?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_keeps_ten_capabilities_and_no_raw_sockets() {
        assert_eq!(kept(Profile::App).iter().count(), 10);
        assert!(!kept(Profile::App).contains(CapabilitySet::NET_RAW));
        assert!(!kept(Profile::App).contains(CapabilitySet::MKNOD));
        assert!(!kept(Profile::App).contains(CapabilitySet::SYS_ADMIN));
    }

    #[test]
    fn a_system_container_can_mount_but_not_load_modules() {
        assert!(kept(Profile::System).contains(CapabilitySet::SYS_ADMIN));
        assert!(!kept(Profile::System).contains(CapabilitySet::SYS_MODULE));
    }
}
