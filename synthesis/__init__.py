"""How CDKTF is started quickly: provider bindings, the Node.js process of jsii, the app and its components."""
