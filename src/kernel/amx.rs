//! Whether tiles (AMX) may be used: the processor has them, and the system has to be asked.

/// Whether the processor has tiles of bytes, and the system lets this process use them.
pub(super) fn allowed() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    let leaves = __cpuid(0).eax;
    if leaves < 7 {
        return false;
    }
    // AMX-TILE and AMX-INT8, and a system that saves extended states.
    let has_tiles = __cpuid_count(7, 0).edx >> 24 & 3 == 3;
    let saves_states = __cpuid(1).ecx >> 27 & 1 == 1;
    has_tiles && saves_states && system_allows()
}

#[cfg(target_os = "linux")]
fn system_allows() -> bool {
    use std::arch::asm;

    let (low, _high): (u32, u32);
    // SAFETY: reads a register of the processor that is there, as `saves_states` said.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _high, options(nomem, nostack, preserves_flags));
    }
    // Tile configuration and tile data.
    if low >> 17 & 3 != 3 {
        return false;
    }
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a system call that grants or refuses a permission and writes no memory; one that the system does not know is
    // refused.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn system_allows() -> bool {
    false
}
