"""Every figure that README claims, measured: each module here prints it and keeps it under results/."""
