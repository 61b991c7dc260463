"""Selectors of Access that only its cloud can evaluate, and what does the same here: they are refused by name."""

from collections.abc import Mapping

UNSUPPORTED: Mapping[str, str] = {
    "auth_context": "asks Microsoft's Conditional Access; ask for the method with { auth_method = … }",
    "cloudflare_account_member": "asks for members of an account there; name them with { email = … } or an email_list",
    "device_posture": "asks the WARP client; a device's certificate says whose it is, with { certificate = {} }",
    "linked_app_token": "asks for tokens that another application there issued; use { service_token = … }",
    "user_risk_score": "asks for scores that are kept there; take people's certificates or groups away instead",
}
