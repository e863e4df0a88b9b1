//! `longhand_shim_chat_template_*`.

use crate::chat_template::ChatTemplate;
use crate::ffi::{drop_quietly, guard, ByteRange, Owned, Slice};

#[repr(C)]
pub struct RenderedView {
    text: Owned<u8>,
    literal: Owned<ByteRange>,
    literal_known: i32,
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_chat_template_new(
    jinja: Slice,
    template_json: Slice,
    config_json: Slice,
    out: *mut *mut ChatTemplate,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let template = ChatTemplate::load(
            jinja.optional_bytes(),
            template_json.optional_bytes(),
            config_json.optional_bytes(),
        )?;
        *out = Box::into_raw(Box::new(template));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_chat_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop_quietly(Box::from_raw(template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_chat_template_render(
    template: *const ChatTemplate,
    input_json: Slice,
    out: *mut RenderedView,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let rendered = (*template).render(input_json.bytes())?;
        *out = RenderedView {
            literal_known: i32::from(rendered.literal.is_some()),
            text: Owned::new(rendered.text.into_bytes()),
            literal: Owned::new(rendered.literal.unwrap_or_default()),
        };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_free_rendered(rendered: RenderedView) {
    rendered.text.free();
    rendered.literal.free();
}
