"""Code that runs in the processes of the kit, beside the plugin's own: each module calls one part of a plugin."""
