window.CONFIG = {BACKEND_URL: ''};
