use super::*;

#[test]
fn the_priority_lies_where_the_builder_of_another_operation_puts_it() {
    let bytes = |entry: &squeue::Entry| -> [u8; 4] {
        // SAFETY: an entry is 64 initialised bytes.
        unsafe { std::ptr::from_ref(entry).cast::<[u8; 4]>().read() }
    };
    let read = || opcode::Read::new(types::Fd(3), std::ptr::null_mut(), 0);
    let theirs = read().ioprio(0x0102).build();
    let mut ours = read().build();
    set_ioprio(&mut ours, 0x0102);
    assert_eq!(bytes(&ours), bytes(&theirs));
}
